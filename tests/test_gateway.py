"""The overlay for the Gateway API: its route is valid, and agrees with the settings.

Kubernetes has no schema of this kind, so the rules are stated here.

Source: Gateway API v1, specification of HTTPRoute, with its validation rules; GEP-2257 (durations).
"""

import copy
import re

import pytest

from config import Settings
from tests.test_manifests import KUSTOMIZE, NAME, check, documents, rendered

DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
PATH = re.compile(r"(/[\w.-]*)*")
BAD_PATH = re.compile(r"//|/\.\.?(/|\Z)")

RULE_FIELDS = {"matches", "filters", "backendRefs", "timeouts"}
FILTERS = {
    "RequestRedirect": ("requestRedirect", {"path", "statusCode"}),
    "URLRewrite": ("urlRewrite", {"path"}),
    "RequestHeaderModifier": ("requestHeaderModifier", {"set", "add", "remove"}),
}
"""By type: the field that the filter must have, and the fields in it that are used here."""

REPLACEMENTS = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
REDIRECTS = (301, 302)


def seconds(duration):
    assert DURATION.fullmatch(duration), duration
    parts = re.findall(r"(\d+)(ms|h|m|s)", duration)
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def check_path(path):
    assert PATH.fullmatch(path), path
    assert not BAD_PATH.search(path), path


def check_replacement(replacement, matches):
    field = REPLACEMENTS[replacement["type"]]
    assert replacement.keys() == {"type", field}
    check_path(replacement[field])
    if field == "replacePrefixMatch":
        (match,) = matches
        assert match["path"]["type"] == "PathPrefix"


def check_filter(given, matches):
    field, known = FILTERS[given["type"]]
    assert given.keys() == {"type", field}
    assert given[field].keys() <= known
    if "path" in given[field]:
        check_replacement(given[field]["path"], matches)
    assert given[field].get("statusCode", 302) in REDIRECTS
    assert all(header.keys() == {"name", "value"} for header in given[field].get("set", []))


def check_rule(rule):
    assert rule.keys() <= RULE_FIELDS
    for match in rule["matches"]:
        assert match.keys() == {"path"}
        assert match["path"]["type"] in ("Exact", "PathPrefix")
        check_path(match["path"]["value"])
    kinds = [given["type"] for given in rule["filters"]]
    assert len(kinds) == len(set(kinds))
    for given in rule["filters"]:
        check_filter(given, rule["matches"])
    if "RequestRedirect" in kinds:
        assert "URLRewrite" not in kinds
        assert "backendRefs" not in rule
    timeouts = {name: seconds(duration) for name, duration in rule.get("timeouts", {}).items()}
    assert timeouts.keys() <= {"request", "backendRequest"}
    if timeouts.get("request") and "backendRequest" in timeouts:
        assert timeouts["backendRequest"] <= timeouts["request"]


def check_route(route):
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["spec"].keys() == {"parentRefs", "hostnames", "rules"}
    assert all(parent.keys() <= {"name", "namespace"} for parent in route["spec"]["parentRefs"])
    assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in route["spec"]["hostnames"])
    assert len(route["spec"]["rules"]) <= 16
    for rule in route["spec"]["rules"]:
        check_rule(rule)


@pytest.fixture(scope="module")
def route():
    return documents((KUSTOMIZE / "gateway" / "http-route.yaml").read_text())["HTTPRoute"]


@pytest.fixture(scope="module")
def rules(route):
    """Rules that lead to the service, by the prefix of their paths."""
    forwarding = [rule for rule in route["spec"]["rules"] if "backendRefs" in rule]
    return {rule["matches"][0]["path"]["value"]: rule for rule in forwarding}


def test_the_route_follows_the_specification(route):
    check_route(route)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rules", 2, "timeouts", "backendRequest"), "601s"),
        (("rules", 2, "timeouts", "request"), "10 minutes"),
        (("rules", 2, "matches", 0, "path", "type"), "Exact"),
        (("rules", 2, "filters", 0, "urlRewrite", "path", "replacePrefixMatch"), "//"),
        (("rules", 2, "filters", 1, "requestHeaderModifier", "put"), []),
        (("rules", 0, "backendRefs"), [{"name": NAME}]),
        (("rules", 0, "filters", 0, "type"), "URLRewrite"),
    ],
)
def test_a_mistake_in_the_route_is_noticed(route, path, value):
    wrong = copy.deepcopy(route)
    part = wrong["spec"]
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(AssertionError):
        check_route(wrong)


def test_the_route_leads_to_the_service_and_states_the_prefix(rules):
    service = documents((KUSTOMIZE / "base" / f"{NAME}.yaml").read_text())["Service"]
    (port,) = service["spec"]["ports"]
    assert rules.keys() == {"/enhancer", "/enhancer/model/jobs"}
    for path, rule in rules.items():
        assert rule["backendRefs"] == [{"name": NAME, "port": port["port"]}]
        rewrite, headers = rule["filters"]
        target = rewrite["urlRewrite"]["path"]["replacePrefixMatch"]
        assert f"/enhancer{target}".rstrip("/") == path
        modifier = headers["requestHeaderModifier"]
        assert modifier["set"] == [{"name": "X-Forwarded-Prefix", "value": "/enhancer"}]
        assert modifier["remove"] == ["X-Forwarded-Host"]


def test_a_picture_has_the_time_that_the_service_allows_and_events_have_no_limit(rules):
    settings = Settings()
    timeouts = rules["/enhancer"]["timeouts"]
    assert seconds(timeouts["backendRequest"]) >= settings.deadline_s + settings.read_timeout_s
    jobs = rules["/enhancer/model/jobs"]["timeouts"]
    assert [seconds(duration) for duration in jobs.values()] == [0, 0]


def test_the_overlay_is_the_production_one_behind_one_proxy():
    found = rendered("gateway")
    check_route(found.pop("HTTPRoute"))
    found.pop("PodMonitor")
    check(found)
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    environ = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environ["ENHANCER_PROXIES"] == "1"
    assert "ENHANCER_API_KEYS" in environ


def test_the_network_policy_names_no_controller():
    text = (KUSTOMIZE / "production" / "network-policy.yaml").read_text()
    (rule,) = documents(text)["NetworkPolicy"]["spec"]["ingress"]
    labels = [
        label
        for peer in rule["from"]
        if "namespaceSelector" in peer
        for label in peer["namespaceSelector"]["matchLabels"].items()
    ]
    assert labels == [("enhancer-gateway", "true"), ("kubernetes.io/metadata.name", "monitoring")]
