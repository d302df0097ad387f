"""The tools of jobs/tools.yaml: an order desk. Its orders are the conversation's state, and change with it."""

from __future__ import annotations

from typing import Any, Literal

State = dict[str, Any]


def look_up_order(order: str, state: State) -> dict[str, Any]:
    """Look up an order: what was bought, what was paid, where it goes, and what became of it.

    Args:
        order: the order's number, such as KZ-48802
        state: the desk's orders
    """
    return _found(order, state)


def refund(order: str, cents: int, reason: Literal["late", "broken", "unwanted"], state: State) -> str:
    """Refund an order, in part or whole.

    Args:
        order: the order's number
        cents: how much is paid back, in cents
        reason: why
        state: the desk's orders
    """
    found = _found(order, state)
    if not 0 < cents <= found["paid_cents"] - found.get("refunded_cents", 0):
        raise ValueError(f"at most {found['paid_cents'] - found.get('refunded_cents', 0)} cents can be refunded")
    found["refunded_cents"] = found.get("refunded_cents", 0) + cents
    return f"refunded {cents} cents of {order} ({reason})"


def change_address(order: str, address: str, state: State) -> str:
    """Send an order that has not left yet to another address.

    Args:
        order: the order's number
        address: street, number and town
        state: the desk's orders
    """
    found = _found(order, state)
    if found["status"] != "packing":
        raise ValueError(f"order {order} is {found['status']}; its address cannot be changed any more")
    found["address"] = address
    return f"{order} goes to {address}"


def as_wanted(state: State, seed: dict[str, Any]) -> bool | str:
    """Whether the orders are as the seed's customer wants them in the end: `wanted` names the fields that must have changed."""
    for order, fields in seed["wanted"].items():
        for name, value in fields.items():
            got = state["orders"][order].get(name)
            if got != value:
                return f"{name} of the order is not as wanted"
    untouched = [order for order in seed["orders"] if order not in seed["wanted"]]
    return all(state["orders"][order] == seed["orders"][order] for order in untouched)


def _found(order: str, state: State) -> dict[str, Any]:
    orders: dict[str, dict[str, Any]] = state["orders"]
    if order not in orders:
        raise KeyError(f"there is no order {order}")
    return orders[order]
