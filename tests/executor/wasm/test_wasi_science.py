"""
The data stack in the guest computes what it computes natively, within floating-point tolerance.

`EXPECTED` is what `python tests/executor/wasm/wasi_science.py` printed on x86-64 with CPython
3.11, numpy 2.4.6, pandas 3.1.1, scipy 1.17.1, scikit-learn 1.9.1 and statsmodels 0.15.0.
"""

import ast
import math

import pytest

from tests.executor.wasm.wasi_science import PROGRAMS
from tests.executor.wasm.wasi_world import MIB, Data, data_parts

pytestmark = pytest.mark.image

EXPECTED = {
    "numpy matrix product": [
        0.2857142857142857,
        0.7755102040816326,
        1.2653061224489794,
        0.7755102040816326,
        2.571428571428571,
        4.36734693877551,
        1.2653061224489794,
        4.36734693877551,
        7.469387755102041,
    ],
    "numpy solve": [15.999999999999917, -178.99999999999906, 69.99999999999964],
    "numpy svd": [
        695.8417585578524,
        18.249862985735685,
        2.0018248184114356,
        0.4260733578953817,
        0.02658960853253865,
    ],
    "numpy eigenvalues": [
        3.287928772175417e-06,
        0.00030589804015117647,
        0.011407491623419842,
        0.20853421861101346,
        1.5670506910982307,
    ],
    "numpy fft": [
        2.8253920342728236,
        3.059109420056982,
        4.0825753705301455,
        9.469267407055748,
        -10.499490173700135,
        -2.7527349427270558,
        -1.4174846160034742,
        -0.8853236525428041,
        -0.6087990137362993,
        -0.44467244522633737,
        -0.33948364718435853,
        -0.26900694969673444,
        -0.2208486955245279,
        -0.18815712225117132,
        -0.1669833381322845,
        -0.15505988145808702,
        -0.15120747319203298,
        0.0,
        0.17958265096456372,
        0.47830895679312985,
        1.6575014226512792,
        -2.4345054311867145,
        -0.7897748909422666,
        -0.4805510196239015,
        -0.3421812072194776,
        -0.2598939295784153,
        -0.2030959251657382,
        -0.16003719323564952,
        -0.12517129672164334,
        -0.09549051137500242,
        -0.06918137909122068,
        -0.04504530604117424,
        -0.022215297271369838,
        0.0,
    ],
    "numpy random": [
        0.0012301533574825742,
        0.2987455375084699,
        -0.2741378553622176,
        -0.8905918387572742,
        -0.45467078517172255,
    ],
    "numpy legacy random": [
        1.5506460999088816,
        1.2005148885934773,
        2.169708530078441,
        4.036346267798216,
        3.1762245260892743,
    ],
    "numpy sums": [3349.369322334662, 288675.1345946685],
    "numpy integers": "10368879322516062500",
    "pandas groupby": [6.450702422006252, 6.57380786495852, 6.6712044222421465, 6.762803174918993],
    "pandas quarters": [
        8.31585518102372,
        2.7111111111111112,
        1.6158940397350994,
        1.1491365777080063,
        0.8706781023854194,
        0.7285429141716567,
        0.5425426527242708,
    ],
    "pandas csv": [2.0, 2.5, 2.0, 1.0],
    "pandas merge": "k,x,y\na,1.0,\nb,2.0,4.0\nc,3.0,5.0\nd,,6.0\n",
    "pandas pivot": [1.5, 2.5, 3.5, 4.5],
    "pandas time zone": "2024-03-31T01:30:00+01:00",
    "scipy minimise": [1.0, 1.0, 1.0, 1.0, 1.0],
    "scipy root": [1.2599210498949451],
    "scipy linear programme": [10.0, -3.0],
    "scipy integrate": [1.7724538509055159],
    "scipy differential equation": [-0.9899924954026642, -0.14112000774241532],
    "scipy distributions": [0.9750021048517795, 2.262157162798205, 0.2782357222418576],
    "scipy special": [
        11.63172839656745,
        0.4970941024642741,
        0.3286267594591274,
        1.2020569031595942,
    ],
    "scipy sparse": [
        2.4999999999999996,
        3.999999999999999,
        4.499999999999999,
        3.999999999999999,
        2.4999999999999996,
    ],
    "scipy signal": [
        0.0,
        0.008677090705288992,
        0.056533042138517356,
        0.17901049765677943,
        0.3755905390720347,
        0.5946184988303825,
        0.7545203649238019,
        0.7793198979654763,
        0.6302085215559136,
        0.32186651559409796,
        -0.08014625753169018,
        -0.4781688924896339,
    ],
    "scipy spatial": "[0, 1, 2, 3]",
    "scipy schur": [0.0687078233299574, 5.346462189567425, 2.722245633762532],
    "sklearn regression": [1.199999999999999, 0.8000000000000005, 0.0],
    "sklearn forest": [0.9733333333333334],
    "sklearn clusters": [78.85566582597731],
    "sklearn components": [0.9246187232017341, 0.05306648311706383, 0.017102609807927525],
    "sklearn logistic": [
        -0.3630927145963024,
        -0.3876752832512719,
        -0.35106229957527063,
        -0.43560923437123755,
    ],
    "statsmodels": [0.10181714288516552, 2.995977465232602],
}


@pytest.fixture(scope="module")
def data():
    return Data(data_parts(("numpy", "pandas"))).begin(1024 * MIB)


def test_every_program_has_its_expected_value():
    assert PROGRAMS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_native_packages(data, name):
    found, expected = ast.literal_eval(data.value(PROGRAMS[name])), EXPECTED[name]
    if isinstance(expected, str):
        assert found == expected
        return
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert math.isclose(one, other, rel_tol=1e-8, abs_tol=1e-9), (found, expected)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_comparison_would_see_a_difference(name):
    """
    A comparison with nothing in it, or of numbers below its tolerance alone, proves nothing.
    """
    expected = EXPECTED[name]
    assert expected
    assert isinstance(expected, str) or max(map(abs, expected)) > 1e-3


def test_numpys_default_integer_has_32_bits_here(data):
    """
    A limit, not a promise: `intp` is 32 bits wide in 32-bit WebAssembly, and numpy's default
    integer with it, so sums of what was made without a dtype wrap where they do not natively.
    Pandas makes 64 bits of Python integers, and sums in 64.
    """
    code = (
        "import numpy as np, pandas as pd\nmade = np.arange(10**6)\n"
        "str(made.dtype), int(made.sum()), int(made.sum(dtype='int64')),"
        " int(pd.Series(range(10**6)).sum()), int(pd.Series(made).sum())"
    )
    total = 499_999_500_000
    wrapped = total % 2**32
    assert ast.literal_eval(data.value(code)) == ("int32", wrapped, total, total, total)


def test_a_plot_is_a_png_file_that_pillow_reads(data):
    code = (
        "import matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots(figsize=(4, 3), dpi=100)\n"
        "axes.plot([1, 3, 2]); axes.set_title('Umsatz \u20ac'); figure.savefig('/work/plot.png')\n"
        "from PIL import Image\nimage = Image.open('/work/plot.png').convert('RGB')\n"
        "image.size, len(set(image.getdata())) > 10, open('/work/plot.png', 'rb').read(4)"
    )
    assert ast.literal_eval(data.value(code)) == ((400, 300), True, b"\x89PNG")


def test_a_plot_as_svg_and_pdf(data):
    code = (
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.bar([1, 2], [3, 4])\n"
        "figure.savefig('p.svg'); figure.savefig('p.pdf')\n"
        "open('p.svg').read(5), open('p.pdf', 'rb').read(5)"
    )
    assert ast.literal_eval(data.value(code)) == ("<?xml", b"%PDF-")


def test_workbooks_pages_and_archives_are_written_and_read_back(data):
    code = (
        "import pandas as pd, zipfile, sqlite3, lxml.etree\n"
        "frame = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\n"
        "frame.to_excel('t.xlsx', index=False)\nframe.to_csv('t.csv', index=False)\n"
        "frame.to_json('t.json')\n"
        "with zipfile.ZipFile('t.zip', 'w', zipfile.ZIP_DEFLATED) as z: z.write('t.csv')\n"
        "with sqlite3.connect('t.db') as c: frame.to_sql('t', c, index=False)\n"
        "back = [pd.read_excel('t.xlsx'), pd.read_csv('t.zip'), pd.read_json('t.json'),\n"
        "        pd.read_sql('select * from t', sqlite3.connect('t.db'))]\n"
        "[frame.equals(one) for one in back], lxml.etree.fromstring('<a>\u00e9</a>').text"
    )
    assert ast.literal_eval(data.value(code)) == ([True] * 4, "\u00e9")
