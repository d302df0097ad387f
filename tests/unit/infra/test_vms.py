"""The autoscaler's file for plain VMs, held to Ray's own schema."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[3]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "vms" / "cluster.yaml").read_text())
TYPES: dict[str, Any] = CONFIG["available_node_types"]


def test_ray_takes_it_with_its_defaults() -> None:
    prepared = prepare_config(copy.deepcopy(CONFIG))
    validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["max_workers"] == 8


def test_the_schema_finds_a_wrong_key() -> None:
    wrong = copy.deepcopy(CONFIG)
    wrong["available_node_types"]["gpu"]["min_worker"] = 1
    with pytest.raises(ValidationError, match="min_worker"):
        validate_config(wrong)


def test_gpus_are_on_spot_from_none_up_and_nothing_else_is() -> None:
    spot = {name for name, kind in TYPES.items() if kind["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}}
    assert spot == {name for name, kind in TYPES.items() if kind["labels"]["market"] == "spot"} == {"gpu"}
    assert TYPES["gpu"]["min_workers"] == 0 and TYPES["gpu"]["resources"]["GPU"] == 1
    assert TYPES[CONFIG["head_node_type"]]["resources"] == {"CPU": 0}


def test_nodes_have_no_password_and_no_open_metadata() -> None:
    for kind in TYPES.values():
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert kind["node_config"]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert "--env RAY_AUTH_MODE=token" in CONFIG["docker"]["run_options"]
    assert not re.search(r"AKIA|SECRET|PASSWORD", yaml.safe_dump(CONFIG))


def test_a_spot_vm_is_drained_within_its_notice() -> None:
    [seconds] = [int(o.rpartition("=")[2]) for o in CONFIG["docker"]["run_options"] if "DRAIN_TIMEOUT" in o]
    assert 30 < seconds < 120


def test_images_are_the_two_targets() -> None:
    images = {CONFIG["docker"]["head_image"], CONFIG["docker"]["worker_image"], TYPES["cpu"]["docker"]["worker_image"]}
    text = (ROOT / "infra" / "image" / "Dockerfile").read_text()
    assert images == set(re.findall(r"--tag (\S+)", text))
