# Source is cut into tokens, with positions.
import io
import keyword
import token
import tokenize

source = "def f(a):  # hi\n    return a+1\n"
print(
    [
        (token.tok_name[t.type], t.string)
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
    ]
)
print(
    keyword.iskeyword("match"),
    keyword.issoftkeyword("match"),
    keyword.iskeyword("async"),
    len(
        [
            t
            for t in tokenize.tokenize(io.BytesIO(source.encode()).readline)
            if t.type == tokenize.NAME
        ]
    ),
)
