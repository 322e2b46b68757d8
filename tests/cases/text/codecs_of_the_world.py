# Codecs of the world: Windows, Japanese, Chinese, Cyrillic, and IDNA.
pairs = [
    ("Привет", "cp1251"),
    ("Привет", "koi8-r"),
    ("日本語", "shift_jis"),
    ("日本語", "euc_jp"),
    ("中文", "gb18030"),
    ("中文", "big5"),
    ("한글", "euc_kr"),
    ("“quoted”–€", "cp1252"),
    ("bücher.example", "idna"),
    ("abc", "cp500"),
]
for text, codec in pairs:
    raw = text.encode(codec)
    print(codec, raw, raw.decode(codec) == text)
import codecs

print(codecs.encode("Uryyb", "rot13"), codecs.lookup("utf8").name, codecs.BOM_UTF8)
"€".encode("latin-1")
