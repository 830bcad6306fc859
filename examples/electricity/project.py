"""Will the electricity price stand above its mean of the last 24 hours? The whole loop in one page."""

import millrace as mr

# One row for each half hour of the market. What it brought is known when it is over, 30 minutes later.
market = mr.Source("market", "data/elec2.parquet", event_time="ts", suite="suites/market.json")
settled = mr.Source("settled", "data/elec2.parquet", event_time="ts", delay="30m")
label = mr.Labels(market, "up", delay="30m")

recent = mr.FeatureView(
    "recent",
    entity=None,
    source=settled,
    features={
        "lag1": mr.last("up"),
        "up_rate_3h": mr.mean("up", window="3h"),
        "last_price": mr.last("nswprice"),
        "price_yesterday": mr.lag("nswprice", 47),
        "price_mean_24h": mr.mean("nswprice", window="24h"),
        "last_demand": mr.last("nswdemand"),
    },
)


@mr.model(
    inputs=["day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"],
    features=["recent:lag1"],
    labels=label,
    window="8w",
    holdout="random",
)
def electricity(X, y):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=500)).fit(X, y)


# The label is exactly "price above the mean of the 48 before it": with a window of past prices among the features,
# the present price would give the answer away, so this model goes without it.
@mr.model(
    inputs=["day", "period", "nswdemand", "vicprice", "vicdemand", "transfer"],
    features=[recent],
    labels=label,
    window="13w",
    holdout="random",
)
def electricity_boosted(X, y):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, learning_rate=0.12, min_samples_leaf=20, early_stopping=False, random_state=0
    )
    return model.fit(X, y)


# A season moves prices and demand too; the break to look for moves all three columns of the neighbour, Victoria.
victoria = mr.OnDrift(window="7d", columns=["vicprice", "vicdemand", "transfer"], min_columns=3, effect=0.45)

for model in (electricity, electricity_boosted):
    model.gates = [
        mr.Threshold(accuracy=0.65, roc_auc=0.65),
        mr.BeatsBaseline(),
        mr.NoRegression(tolerance=0.01, when_inconclusive="promote"),
        mr.Latency(p95_ms=20),
        mr.Robustness(),
    ]
    model.deploy = mr.Direct()
electricity.retrain = [mr.OnDegradation(accuracy=0.75, drop=0.05, window="7d", cooldown=0), victoria]
electricity_boosted.retrain = [mr.OnDegradation(accuracy=0.80, drop=0.05, window="7d", cooldown=0), victoria]
