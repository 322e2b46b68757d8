# os.open with O_EXCL refuses what is there.
import os

os.close(os.open("raw", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
os.open("raw", os.O_CREAT | os.O_EXCL)
