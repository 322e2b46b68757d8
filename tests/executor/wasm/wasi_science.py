"""
What numpy, pandas, scipy and scikit-learn compute, natively and in the guest.

Run as a program on native Python with these packages, it prints `EXPECTED`; the test runs the
same code in the guest. Each program's last line is an expression: floats in lists, or text.
"""

import ast

PROGRAMS = {
    "numpy matrix product": "import numpy as np\na = np.arange(12.0).reshape(3, 4) / 7\n(a @ a.T).ravel().tolist()",
    "numpy solve": "import numpy as np\nnp.linalg.solve(np.array([[3.0, 1, 2], [1, 2, 5], [7, 1, 1]]), np.array([9.0, 8, 3])).tolist()",
    "numpy svd": "import numpy as np\nnp.linalg.svd(np.vander(np.arange(1.0, 6)))[1].tolist()",
    "numpy eigenvalues": "import numpy as np\nnp.linalg.eigvalsh(1 / (np.arange(5)[:, None] + np.arange(5) + 1)).tolist()",
    "numpy fft": "import numpy as np\nf = np.fft.rfft(np.sin(np.arange(32) * 0.7))\nnp.concatenate([f.real, f.imag]).tolist()",
    "numpy random": "import numpy as np\nnp.random.default_rng(7).normal(size=5).tolist()",
    "numpy legacy random": "import numpy as np\nnp.random.RandomState(7).standard_gamma(2.5, 5).tolist()",
    "numpy sums": "import numpy as np\n[float(np.exp(np.linspace(-3, 3, 1001)).sum()), float(np.arange(1e6).std())]",
    "numpy integers": "import numpy as np\nstr((np.arange(10**6, dtype='uint64') * 2654435761 >> 7).sum(dtype='uint64'))",
    "pandas groupby": "import pandas as pd\nd = pd.DataFrame({'q': [n % 4 for n in range(100)], 'v': [n**0.5 for n in range(100)]})\nd.groupby('q').v.mean().tolist()",
    "pandas quarters": "import pandas as pd\nd = pd.DataFrame({'d': pd.date_range('2023-01-01', periods=1000, freq='D'), 'v': range(1000)})\nq = d.groupby(d.d.dt.to_period('Q')).v.sum()\n((q - q.shift(4)) / q.shift(4)).dropna().tolist()",
    "pandas csv": "import io, pandas as pd\npd.read_csv(io.StringIO('a,b\\n1,2.5\\n3,\\n')).describe().loc[['mean', 'count']].values.ravel().tolist()",
    "pandas merge": "import pandas as pd\nl = pd.DataFrame({'k': list('abc'), 'x': [1, 2, 3]})\nr = pd.DataFrame({'k': list('bcd'), 'y': [4, 5, 6]})\nl.merge(r, on='k', how='outer').sort_values('k').to_csv(index=False)",
    "pandas pivot": "import pandas as pd\nd = pd.DataFrame({'a': list('xxyy'), 'b': list('pqpq'), 'v': [1.5, 2.5, 3.5, 4.5]})\nd.pivot_table(index='a', columns='b', values='v', aggfunc='sum').values.ravel().tolist()",
    "pandas time zone": "import pandas as pd\npd.Timestamp('2024-03-31 00:30', tz='UTC').tz_convert('Europe/Berlin').isoformat()",
    "scipy minimise": "import scipy.optimize as o\n[round(float(x), 4) for x in o.minimize(o.rosen, [1.3, 0.7, 0.8, 1.9, 1.2], method='BFGS', jac=o.rosen_der).x]",
    "scipy root": "import scipy.optimize as o\n[o.brentq(lambda x: x**3 - 2, 0, 2)]",
    "scipy linear programme": "import scipy.optimize as o\no.linprog([-1, 4], A_ub=[[-3, 1], [1, 2]], b_ub=[6, 4], bounds=[(None, None), (-3, None)]).x.tolist()",
    "scipy integrate": "import scipy.integrate as i\nimport math\n[i.quad(lambda x: math.exp(-x * x), -math.inf, math.inf)[0]]",
    "scipy differential equation": "import scipy.integrate as i\ni.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 3), [1, 0], rtol=1e-9, atol=1e-9).y[:, -1].tolist()",
    "scipy distributions": "import scipy.stats as s\n[float(s.norm.cdf(1.96)), float(s.t.ppf(0.975, 9)), float(s.ttest_ind([1, 2, 3, 4], [2, 3, 4, 7]).pvalue)]",
    "scipy special": "import scipy.special as s\n[float(s.gamma(4.5)), float(s.jv(1, 2.5)), float(s.erf(0.3)), float(s.zeta(3))]",
    "scipy sparse": "import numpy as np, scipy.sparse as p, scipy.sparse.linalg as l\nl.spsolve(p.diags([[-1.0] * 4, [2.0] * 5, [-1.0] * 4], [-1, 0, 1]).tocsc(), np.ones(5)).tolist()",
    "scipy signal": "import numpy as np, scipy.signal as s\nb, a = s.butter(3, 0.2)\ns.lfilter(b, a, np.sin(np.arange(12) * 0.5)).tolist()",
    "scipy spatial": "import scipy.spatial as s\nstr(sorted(s.ConvexHull([[0, 0], [4, 0], [4, 4], [0, 4], [2, 2]]).vertices.tolist()))",
    "scipy schur": "import numpy as np, scipy.linalg as l\nnp.abs(np.diag(l.schur(np.array([[4.0, 1, 2], [1, 3, 0], [2, 0, 1]]))[0])).tolist()",
    "sklearn regression": "from sklearn.linear_model import Ridge\nm = Ridge(alpha=0.5).fit([[0, 1], [1, 3], [2, 2], [3, 5]], [1, 3, 4, 8])\nm.coef_.tolist() + [float(m.intercept_)]",
    "sklearn forest": "from sklearn.datasets import load_iris\nfrom sklearn.ensemble import RandomForestClassifier\nx, y = load_iris(return_X_y=True)\n[float(RandomForestClassifier(10, random_state=0, max_depth=3).fit(x, y).score(x, y))]",
    "sklearn clusters": "from sklearn.datasets import load_iris\nfrom sklearn.cluster import KMeans\nx, _ = load_iris(return_X_y=True)\n[float(KMeans(3, n_init=3, random_state=0).fit(x).inertia_)]",
    "sklearn components": "import numpy as np\nfrom sklearn.datasets import load_iris\nfrom sklearn.decomposition import PCA\nPCA(3).fit(load_iris().data).explained_variance_ratio_.tolist()",
    "sklearn logistic": "from sklearn.datasets import load_breast_cancer\nfrom sklearn.linear_model import LogisticRegression\nfrom sklearn.preprocessing import StandardScaler\nx, y = load_breast_cancer(return_X_y=True)\nx = StandardScaler().fit_transform(x)\nLogisticRegression(tol=1e-10, max_iter=2000).fit(x, y).coef_[0][:4].tolist()",
    "statsmodels": "import numpy as np, statsmodels.api as sm\nx = np.arange(50.0)\nsm.OLS(3 * x + np.sin(x), sm.add_constant(x)).fit().params.tolist()",
}


def run(program):
    """
    The value of the last line, computed here.
    """
    tree = ast.parse(program)
    last = ast.Expression(tree.body.pop().value)
    scope = {}
    exec(compile(tree, "<program>", "exec"), scope)
    return eval(compile(last, "<program>", "eval"), scope)


if __name__ == "__main__":
    print("EXPECTED = {")
    for name, program in PROGRAMS.items():
        print(f"    {name!r}: {run(program)!r},")
    print("}")
