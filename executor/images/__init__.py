"""
Guest images: fetch, verify, translate, compile, lock, cache.

`build.py` makes an image, `catalog.py` finds one, `sealed.py` opens its files; the rest are the
steps between. Nothing here imports what it builds: an image is data until `sealed.py` has
hashed the very bytes that will be mapped.
"""
