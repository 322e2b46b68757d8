# Programs are not started.
import subprocess

try:
    print(subprocess.run(["/bin/echo", "hi"], capture_output=True, text=True).stdout)
except OSError as error:
    print("refused:", type(error).__name__)
