"""Will the electricity price be above its mean of the last 24 hours? The whole loop in one page."""

import millrace as mr

# Each half hour of the market; its label is known when it is over.
market = mr.Source("market", "data/elec2.parquet", event_time="ts", suite="suites/market.json")
settled = mr.Source("settled", "data/elec2.parquet", event_time="ts", delay="30m")

recent = mr.FeatureView("recent", entity=None, source=settled, features={"lag1": mr.last("up")})


@mr.model(
    inputs=["day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"],
    features=[recent],
    labels=mr.Labels(market, "up", delay="30m"),
    window="8w",
    holdout="random",
)
def electricity(X, y):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=500)).fit(X, y)


electricity.gates = [
    mr.Threshold(accuracy=0.65, roc_auc=0.65),
    mr.BeatsBaseline(),
    mr.NoRegression(tolerance=0.01, when_inconclusive="promote"),
    mr.Latency(p95_ms=20),
    mr.Robustness(),
]
electricity.deploy = mr.Direct()
electricity.retrain = [
    mr.OnDegradation(accuracy=0.75, drop=0.05, window="7d", min_samples=100, cooldown=0),
    mr.OnDrift(window="7d", min_columns=3, effect=0.45),
]
