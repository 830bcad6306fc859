"""Who buys again within 30 days? RFM features over the raw log of a web shop, and a model on them."""

import millrace as mr

# One row for each line of an invoice, as the shop wrote them down. Nothing is cleaned: lines without a customer,
# cancellations (C...), returns and repeated lines stay in the file. The definitions below say what counts.
log = mr.Source("log", "data/online_retail.parquet", event_time="InvoiceDate", suite="suites/log.json")

# Customers at the start of a week, and whether they bought in the 30 days after: nobody knows that any sooner.
snapshots = mr.Source("snapshots", "data/snapshots.parquet", event_time="at", suite="suites/snapshots.json")

customer = mr.Entity("customer", key="CustomerID")

is_cancel = mr.col("InvoiceNo").starts_with("C")
is_sale = ~is_cancel
amount = mr.col("Quantity") * mr.col("UnitPrice")

purchases = mr.FeatureView(
    "purchases",
    entity=customer,
    source=log,
    # Two lines of one invoice may cost the same: the article tells them apart.
    event_key="StockCode",
    description="What a customer bought up to now: recency, frequency, monetary value",
    features={
        "recency": mr.days_since_last(where=is_sale),
        "tenure": mr.days_since_first(where=is_sale),
        "orders": mr.count_distinct("InvoiceNo", where=is_sale),
        "spend": mr.sum(amount, where=is_sale),
        "items": mr.sum("Quantity", where=is_sale),
        "orders_90d": mr.count_distinct("InvoiceNo", window="90d", where=is_sale),
        "spend_90d": mr.sum(amount, window="90d", where=is_sale),
        "orders_30d": mr.count_distinct("InvoiceNo", window="30d", where=is_sale),
        "spend_30d": mr.sum(amount, window="30d", where=is_sale),
        "cancels": mr.count_distinct("InvoiceNo", where=is_cancel),
        "articles": mr.count_distinct("StockCode", where=is_sale),
        "basket_mean": mr.ratio(mr.sum(amount, where=is_sale), mr.count_distinct("InvoiceNo", where=is_sale)),
        "orders_per_day": mr.ratio(mr.count_distinct("InvoiceNo", where=is_sale), mr.lifetime_days(where=is_sale)),
    },
)

# Only the newest events matter here: the online store keeps just those.
profile = mr.FeatureView(
    "profile",
    entity=customer,
    source=log,
    event_key=["InvoiceNo"],
    schema=[mr.Field("last_country", "string"), mr.Field("last_articles", "list[string]", "newest first")],
    features={
        "last_country": mr.last("Country"),
        "last_articles": mr.last_k("StockCode", 5, where=is_sale),
    },
)


@mr.on_demand(
    inputs={"days": "purchases:recency", "pace": "purchases:orders_per_day"},
    outputs={"overdue": "float"},
)
def rhythm(days, pace):
    """How many orders a customer is behind their own pace."""
    return days * pace


@mr.on_demand(
    inputs={"usual": "purchases:basket_mean", "basket": mr.Field("basket_value", "float", "what lies in the basket")},
    outputs={"basket_vs_usual": "float"},
)
def checkout(usual, basket):
    """The basket of this moment against the customer's usual one."""
    return basket / usual


rfm = mr.FeatureService(
    "rfm",
    features=[purchases, "rhythm:overdue"],
    description="The vector of the model `buys_again`",
)
at_checkout = mr.FeatureService("at_checkout", features=["checkout:basket_vs_usual", profile, "purchases:orders"])


@mr.model(features=rfm, labels=mr.Labels(snapshots, "buys", delay="30d"), holdout="time")
def buys_again(X, y):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PowerTransformer

    # Nothing spent in a window is null, not 0: a sum of no values. For this model both are the same.
    fill = SimpleImputer(strategy="constant", fill_value=0.0)
    return make_pipeline(fill, PowerTransformer(), LogisticRegression(max_iter=500)).fit(X, y)


buys_again.gates = [
    mr.Threshold(accuracy=0.70, roc_auc=0.70),
    mr.BeatsBaseline(),
    mr.NoRegression(tolerance=0.01, when_inconclusive="promote"),
    mr.Latency(p95_ms=20),
    mr.Robustness(),
]
buys_again.deploy = mr.Direct()
# This shop is steady: over a year of weekly snapshots a model trained once stays as good as it was, and the trigger
# never fires. A loop that does nothing is the right loop here.
buys_again.retrain = [mr.OnDegradation(accuracy=0.65, drop=0.05, window="28d", min_samples=1000)]
