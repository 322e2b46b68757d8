# unittest runs cases with fixtures, subtests, skips and failures.
import io
import unittest


class Sums(unittest.TestCase):
    def setUp(self):
        self.values = [1, 2]

    def test_sum(self):
        self.assertEqual(sum(self.values), 3)

    def test_wrong(self):
        self.assertIn(5, self.values, "five is missing")

    def test_raises(self):
        with self.assertRaisesRegex(ValueError, "invalid"):
            int("x")

    @unittest.skip("later")
    def test_skipped(self):
        pass

    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertNotEqual(n, 1)


suite = unittest.defaultTestLoader.loadTestsFromTestCase(Sums)
result = unittest.TextTestRunner(io.StringIO()).run(suite)
print(len(result.failures), len(result.errors), result.skipped[0][1], result.wasSuccessful())
print([str(t).split()[0] for t, _ in result.failures], result.failures[-1][1].splitlines()[-1])
