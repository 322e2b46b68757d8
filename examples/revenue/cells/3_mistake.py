growth = total["2025"] / total["2024"] - 1
print(growth.map("{:+.1%}".format).to_string())
