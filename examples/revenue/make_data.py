"""
Writes revenue.csv: the invented revenue of a firm by quarter and region, the same bytes every time.
"""

import csv
import random
from pathlib import Path

REGIONS = {"North": 410.0, "South": 290.0, "West": 180.0}
SEASON = [0.92, 0.98, 0.95, 1.15]
GROWTH = {"North": 1.06, "South": 1.11, "West": 0.97}
YEARS = (2023, 2024, 2025)


def main():
    chance = random.Random(20260103)
    with Path(__file__).with_name("revenue.csv").open("w", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["quarter", "region", "revenue"])
        for year in YEARS:
            for quarter, season in enumerate(SEASON, 1):
                for region, base in REGIONS.items():
                    grown = base * GROWTH[region] ** (year - YEARS[0])
                    revenue = grown * season * chance.uniform(0.96, 1.04)
                    writer.writerow([f"{year}Q{quarter}", region, f"{revenue:.1f}"])


if __name__ == "__main__":
    main()
