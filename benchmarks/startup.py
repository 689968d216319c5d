"""From the settings to the first batch: ours, and stock."""

from __future__ import annotations

from benchmarks.harness import data_sets, experiment, interleaved, report


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("yelp2018"):
        for model in ("BPR", "LightGCN"):

            def start(fast: bool, model=model, name=name) -> None:
                next(iter(experiment(model, name, fast).train_data))

            seconds = interleaved(
                {way: lambda way=way: start(way == "ours") for way in ("stock", "ours")}, runs=3
            )
            stock, ours = seconds["stock"], seconds["ours"]
            rows.append([name, model, f"{stock:.1f}", f"{ours:.1f}", f"{stock / ours:.1f} x"])
    report(
        "Start-up to the first batch, seconds (medians of 3)",
        ["data set", "model", "stock", "ours", "faster"],
        rows,
    )


if __name__ == "__main__":
    main()
