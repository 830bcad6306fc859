"""A small project with everything in it: a keyed stream of orders, some of them late, and a model that says which."""

import csv
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np

from millrace.core.clock import SystemClock
from millrace.flow.demo import free_ports
from millrace.flow.project import load_project
from millrace.flow.serve import make_server
from millrace.flow.wiring import Wiring

MODEL = "late_orders"
ROWS = 2000
START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=30)
END = START + STEP * ROWS
COLUMNS = ["ts", "customer", "amount", "items", "late"]
STEPS = [
    "extract",
    "validate_data",
    "check_drift",
    "build_features",
    "train",
    "validate_model",
    "register",
    "deploy",
    "monitor_deployment",
]

DEFINITIONS = '''
"""Which orders come late?"""
import millrace as mr

orders = mr.Source("orders", "data/orders.csv", event_time="ts", delay="1h", suite="suites/orders.json")
customer = mr.Entity("customer", key="customer")
history = mr.FeatureView(
    "history",
    entity=customer,
    source=orders,
    features={"last_late": mr.last("late"), "mean_amount": mr.mean("amount", window="7d")},
)


@mr.model(inputs=["amount", "items"], features=[history], labels=mr.Labels(orders, "late"), holdout="random")
def late_orders(X, y):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(X, y)


late_orders.gates = [
    mr.Threshold(accuracy=0.6),
    mr.BeatsBaseline(),
    mr.NoRegression(tolerance=0.02, when_inconclusive="promote"),
    mr.Latency(p95_ms=1000),
    mr.Robustness(),
]
late_orders.deploy = mr.Direct()
late_orders.retrain = [
    mr.OnDegradation(accuracy=0.6, drop=None, window="2d", min_samples=40, cooldown="12h"),
    mr.OnDrift(window="4d", min_columns=1, effect=0.4, cooldown="12h"),
]
'''

# Staging and production need no server of their own: without one, deploy starts a temporary one.
SETTINGS = """
name = "orders"

[defaults]
executor = "inline"
"""


def make_rows(*, rows=ROWS, start=START, seed=7):
    """Orders, half an hour apart; the large ones, and those of customers who waited before, come late."""
    chance = np.random.default_rng(seed)
    waited = {f"c{number}": 0 for number in range(8)}
    found = []
    for number in range(rows):
        who = f"c{chance.integers(8)}"
        amount, items = round(float(chance.gamma(3.0, 20.0)), 2), int(chance.integers(1, 9))
        score = (amount - 55) / 15 + (items - 4) / 2 + 1.5 * waited[who] - 0.75
        late = int(score + chance.logistic() > 0)
        waited[who] = late
        found.append([(start + STEP * number).strftime("%Y-%m-%d %H:%M:%S"), who, amount, items, late])
    return found


def write_rows(folder, rows, *, header=COLUMNS):
    with open(folder / "data" / "orders.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def read_rows(folder):
    with open(folder / "data" / "orders.csv", newline="") as file:
        return list(csv.reader(file))[1:]


def write_small_project(folder):
    """The project in `folder`, nothing run yet."""
    (folder / "data").mkdir(parents=True)
    (folder / "suites").mkdir()
    (folder / "project.py").write_text(DEFINITIONS)
    (folder / "millrace.toml").write_text(SETTINGS)
    write_rows(folder, make_rows())
    expectations = [
        ("expect_table_row_count_to_be_between", {"min_value": 100}),
        ("expect_table_columns_to_match_ordered_list", {"column_list": COLUMNS}),
        ("expect_column_values_to_not_be_null", {"column": "amount", "mostly": 0.95}),
        ("expect_column_values_to_be_between", {"column": "amount", "min_value": 0, "max_value": 10_000}),
        ("expect_column_values_to_be_between", {"column": "items", "min_value": 1, "max_value": 20}),
        ("expect_column_values_to_be_in_set", {"column": "late", "value_set": [0, 1]}),
    ]
    suite = {
        "name": "orders",
        "expectations": [{"type": kind, "kwargs": kwargs, "meta": {}} for kind, kwargs in expectations],
        "meta": {},
    }
    (folder / "suites" / "orders.json").write_text(json.dumps(suite))
    return folder


def copy_project(folder, target):
    shutil.copytree(folder, target)
    return target


def edit(folder, old, new, *, file="project.py"):
    """Replace a text that stands exactly once in a file of the project."""
    path = folder / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))


def millrace(folder, *words, timeout=120, **options):
    """One command in a process of its own."""
    command = [sys.executable, "-m", "millrace", *words, "--project", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def open_small_project(folder, clock=None, *, environment=None):
    return Wiring(load_project(folder, environment=environment), clock or SystemClock())


@contextmanager
def live_servers(folder):
    """Real servers of staging and production in threads of this process; their ports go to millrace.toml."""
    stages = dict(zip(("staging", "production"), free_ports(2), strict=True))
    settings = "".join(
        f'\n[environments.{stage}]\nserver = "http://127.0.0.1:{port}"\n' for stage, port in stages.items()
    )
    (folder / "millrace.toml").write_text(SETTINGS + settings)
    servers, wirings = {}, []
    try:
        for stage in stages:
            wirings.append(open_small_project(folder, environment=stage))
            servers[stage] = make_server(wirings[-1], MODEL)
            servers[stage].start()
        yield servers
    finally:
        for server in servers.values():
            server.stop()
        for wiring in wirings:
            wiring.close()
