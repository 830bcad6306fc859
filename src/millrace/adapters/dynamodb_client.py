"""The AWS SDK's client for DynamoDB: its timeouts and retries, a table for it, and what its errors mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from millrace.adapters.store_address import StoreAddress
from millrace.core.errors import StoreError

OPTIONS = ("endpoint", "timeout_s", "connect_timeout_s", "attempts", "connections", "consistent", "create")
SDK_ERRORS = (ClientError, BotoCoreError)
_REFUSED = (
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
)


def make_client(address: StoreAddress, connections: int) -> Any:
    """A client that gives up after the address's timeouts and attempts.

    Raises
    ------
    ProjectError
        FEAT-40 when the region or the endpoint is none.
    """
    endpoint = address.get("endpoint", "")
    config = Config(
        connect_timeout=address.get("connect_timeout_s", 2.0),
        read_timeout=address.get("timeout_s", 2.0),
        retries={"mode": "standard", "total_max_attempts": address.get("attempts", 5)},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
    region = urlsplit(address.url).hostname
    try:
        return boto3.session.Session().client(
            "dynamodb", region_name=region or None, endpoint_url=endpoint or None, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise address.refuse(address.hide(str(error)), fix="dynamodb://eu-west-1/my-table") from None


def make_table(client: Any, address: StoreAddress, table: str) -> None:
    """The table, unless it is there, paid for by the request.

    Raises
    ------
    StoreError
        As `explain` says.
    """
    try:
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "B"} for name in ("p", "k")],
            KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "k", "KeyType": "RANGE"}],
        )
    except SDK_ERRORS as error:
        if _code(error) != "ResourceInUseException":
            raise explain(error, address, table) from None
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def is_late(error: Exception) -> bool:
    """Whether the condition of a write did not hold."""
    return _code(error) == "ConditionalCheckFailedException"


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def explain(error: Exception, address: StoreAddress, table: str) -> StoreError:
    """What an error of the SDK means for the user."""
    code, text = _code(error), address.hide(str(error))
    if code == "ResourceNotFoundException":
        return StoreError(
            "FEAT-42",
            f"the online store has no table '{table}'",
            where=address.where,
            fix="make it with partition key p and sort key k, both binary; or let Millrace do it with ?create=yes",
        )
    if code in _REFUSED or isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StoreError(
            "FEAT-42",
            f"the online store refuses this user: {text}",
            where=address.where,
            fix="set AWS_PROFILE, a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the user needs GetItem, "
            "BatchGetItem, PutItem, Query and BatchWriteItem on the table",
        )
    return StoreError(
        "FEAT-20",
        f"the online store cannot be reached: {text}",
        where=address.where,
        why=f"it did not answer {address.get('attempts', 5)} times; every value is the old one or the new one",
        fix="check the region, the endpoint and the table's capacity, then run again",
    )
