# The statistics module summarises numbers, fractions and decimals.
import statistics as st
from fractions import Fraction

data = [2.5, 3.25, 5.5, 11.25, 11.75, 3.25]
print(
    st.mean(data),
    st.median(data),
    st.mode(data),
    st.multimode("aabbc"),
    round(st.stdev(data), 10),
    round(st.pvariance(data), 10),
)
print(
    st.median_low(data),
    st.median_high(data),
    st.quantiles(data, n=4),
    round(st.geometric_mean(data), 10),
    round(st.harmonic_mean([40, 60]), 10),
)
print(
    st.mean([Fraction(1, 2), Fraction(1, 3)]),
    st.fmean([1, 2, 4], weights=[3, 1, 1]),
    round(st.correlation([1, 2, 3, 4], [2, 4, 6, 9]), 8),
)
line = st.linear_regression([1, 2, 3, 4], [3.1, 4.9, 7.2, 8.8])
print(round(line.slope, 8), round(line.intercept, 8))
st.mean([])
