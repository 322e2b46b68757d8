# Loan and savings tables with floats, to the cent.
rate, principal, months = 0.045 / 12, 200_000, 360
payment = principal * rate / (1 - (1 + rate) ** -months)
print(f"{payment:,.2f} total {payment * months:,.2f}")
balance = principal
for month in range(1, months + 1):
    interest = balance * rate
    balance += interest - payment
    if month in (1, 120, 360):
        print(month, f"{interest:.2f} {abs(balance):.2f}")
print(*(f"{1000 * 1.05**y:.2f}" for y in range(0, 31, 10)))
