import pytest

from core.values import decimal, whole_number


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("16", 16), ("2.5", 2.5), ("1.370", 1.37)])
def test_a_decimal_is_read(text, number):
    assert decimal(1, 16).parse(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "nan",
        "inf",
        "1e9",
        "1e1",
        "4,5",
        "4x",
        "",
        " 2",
        "1_0",
        "16.1",
        "0.99",
        "２",
        "+2",
    ],
)
def test_what_is_no_decimal_in_range_is_refused(text):
    with pytest.raises(ValueError):
        decimal(1, 16).parse(text)


def test_the_range_of_numbers_is_known():
    assert (decimal(1, 16).least, decimal(1, 16).most) == (1, 16)
    assert (whole_number(2, 9).least, whole_number(2, 9).most) == (2, 9)
