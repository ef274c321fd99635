"""Evaluate the part of PromQL that this project documents, on scrapes of its metrics.

There are selectors, `rate`, `increase`, `sum`, `max`, `histogram_quantile` and `/`. As in
Prometheus, `rate` has no value for a series that the first scrape lacks. Unlike there, the two
scrapes are exactly at the ends of each range.

Source: Prometheus, "Querying basics" and "Query functions".
"""

import re
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

TOKEN = re.compile(r'\s*([A-Za-z_]+|[0-9.]+[a-z]?|"[^"]*"|=~|[(){}\[\]=,/])')
NAME = "__name__"


class Scrapes:
    """Two scrapes of all metrics.

    Args:
        before: text of the first.
        after: text of the second.
        seconds: time from the first to the second.
    """

    def __init__(self, before, after, seconds):
        self._before, self._after, self._seconds = (
            read_samples(before),
            read_samples(after),
            seconds,
        )

    def evaluate(self, query):
        """Return the values of a query, by their labels, which are sets of pairs."""
        self._tokens = TOKEN.findall(query)
        assert "".join(self._tokens) == re.sub(r"\s", "", query)
        value = self._quotient()
        assert self._tokens == []
        return value

    def value(self, query):
        """Return the only value of a query that has no labels."""
        (value,) = self.evaluate(query).values()
        return value

    def _quotient(self):
        value = self._operand()
        if self._tokens[:1] != ["/"]:
            return value
        self._take("/")
        other = self._operand()
        return {labels: value[labels] / other[labels] for labels in value.keys() & other.keys()}

    def _operand(self):
        name = self._tokens.pop(0)
        if name in ("rate", "increase"):
            return self._change(per_second=name == "rate")
        if name in ("sum", "max"):
            return self._aggregate(sum if name == "sum" else max)
        if name == "histogram_quantile":
            return self._quantile()
        return self._select(name, self._after)

    def _change(self, *, per_second):
        self._take("(")
        name, matchers = self._tokens.pop(0), self._matchers()
        self._take("[", None, "]", ")")
        before, after = (select(name, matchers, s) for s in (self._before, self._after))
        divisor = self._seconds if per_second else 1
        common = before.keys() & after.keys()
        return {labels: (after[labels] - before[labels]) / divisor for labels in common}

    def _aggregate(self, function):
        kept = []
        if self._tokens[0] == "by":
            self._take("by", "(")
            kept.append(self._tokens.pop(0))
            self._take(")")
        self._take("(")
        groups = defaultdict(list)
        for labels, value in self._quotient().items():
            groups[frozenset(pair for pair in labels if pair[0] in kept)].append(value)
        self._take(")")
        return {labels: function(values) for labels, values in groups.items()}

    def _quantile(self):
        self._take("(")
        rank = float(self._tokens.pop(0))
        self._take(",")
        histograms = defaultdict(list)
        for labels, value in self._quotient().items():
            bound = float(dict(labels)["le"])
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            histograms[rest].append((bound, value))
        self._take(")")
        return {labels: quantile(rank, sorted(found)) for labels, found in histograms.items()}

    def _select(self, name, samples):
        return select(name, self._matchers(), samples)

    def _matchers(self):
        """Return a list of labels and the patterns that they must match."""
        matchers = []
        if self._tokens[:1] != ["{"]:
            return matchers
        while self._tokens.pop(0) in "{,":
            label, operator, text = (self._tokens.pop(0) for _ in range(3))
            pattern = text.strip('"')
            matchers.append((label, pattern if operator == "=~" else re.escape(pattern)))
        return matchers

    def _take(self, *expected):
        for token in expected:
            assert self._tokens.pop(0) == token or token is None


def read_samples(text):
    """Return the values of an exposition, by name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def select(name, matchers, samples):
    """Return the values of a metric whose labels match all patterns."""
    found = {labels: value for (other, labels), value in samples.items() if other == name}
    return {
        labels: value
        for labels, value in found.items()
        if all(re.fullmatch(p, dict(labels).get(label, "")) for label, p in matchers)
    }


def quantile(rank, buckets):
    """Return a quantile of a histogram, interpolated within its bucket.

    Args:
        rank: from 0 to 1.
        buckets: upper bounds and cumulative counts, in order; the last bound is infinite.
    """
    wanted = rank * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return float("nan")
