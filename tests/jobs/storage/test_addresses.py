"""Addresses that lead nowhere are told what to write instead, and all others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import AddressError
from jobs.storage.addresses import check_address, fault_of

WINDOWS = "is a path of Windows: write one of this machine, such as /mnt/pictures, or s3://"


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("s3:/renders/o", "lacks //: write s3://renders/o"),
        ("s3:renders/o", "lacks //: write s3://renders/o"),
        ("S3:/renders/o", "lacks //: write s3://renders/o"),
        ("S3://renders/o", "begins with S3://: write it in small letters, s3://renders/o"),
        ("file:/mnt/o", "lacks //: write file:///mnt/o"),
        ("file:o", "lacks //: write file:///o"),
        ("https:/e.org/a.jpg", "lacks //: write https://e.org/a.jpg"),
        (
            "gs:/renders",
            "is no address of a known kind; write ./gs:/renders for a folder of that name",
        ),
        ("C:\\renders\\o", WINDOWS),
        ("c:/renders/o", WINDOWS),
        ("\\\\nas\\renders", WINDOWS),
        ("“out”", "begins with a typographic quote: write straight quotes, or none"),
        (" ", "is empty"),
        (
            "C:\renders",
            "has a character that no name has: in double quotes, YAML takes a backslash for the beginning of "
            "one, so write / instead, or use single quotes",
        ),
    ],
)
def test_what_leads_nowhere_is_told_what_to_write(address: str, fault: str) -> None:
    assert fault_of(address) == fault


@pytest.mark.parametrize(
    "address",
    [
        *(
            "out",
            "./out",
            "/mnt/o",
            "..",
            "~/o",
            "~",
            "a b/ü",
            "a:b",
            "2024: May/x",
            "x:",
            "c:",
            "c:o",
        ),
        *(
            "s3://renders/o",
            "s3:///x",
            "file:///o",
            "https://e.org/a.jpg?x=y:/z",
            "HTTPS://E.org/a",
        ),
        *("./s3:/o", "a/s3:/o", "photos/*.jpg", "$a", "it's", "-o", "gs://b"),
    ],
)
def test_what_may_be_meant_is_left_alone(address: str) -> None:
    assert fault_of(address) is None


@given(st.text())
def test_any_text_is_an_address_or_told_why_not(text: str) -> None:
    told = None
    try:
        check_address(text, Path("/jobs"))
    except AddressError as error:
        told = str(error)
    assert told is None or told.endswith((".", "name"))
