# scrypt stretches a password with memory.
import hashlib

print(hashlib.scrypt(b"password", salt=b"NaCl", n=16, r=8, p=1, dklen=16).hex())
