growth = {f"Q{q}": revenue[f"2025 Q{q}"] / revenue[f"2024 Q{q}"] - 1 for q in range(1, 5)}
{quarter: f"{change:+.1%}" for quarter, change in growth.items()}
