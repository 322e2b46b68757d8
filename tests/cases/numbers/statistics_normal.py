# A normal distribution gives quantiles, overlaps and probabilities.
from statistics import NormalDist

iq = NormalDist(100, 15)
print(
    round(iq.cdf(130), 10),
    round(iq.inv_cdf(0.975), 8),
    round(iq.pdf(100), 10),
    iq.mean,
    iq.variance,
    [round(q, 6) for q in iq.quantiles(4)],
)
heights = NormalDist.from_samples([1.6, 1.7, 1.75, 1.8, 1.82])
print(
    round(heights.mean, 10),
    round(heights.stdev, 10),
    round(heights.zscore(1.9), 8),
    iq + 5,
    iq * 2,
    round(iq.overlap(NormalDist(110, 10)), 8),
)
