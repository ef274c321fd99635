"""Names of uploaded files as clients write them. Whatever the name is, the file is the same."""

import json

import pytest

from tests.support.stand_ins import noise

NAMES = {
    "plain": b'; filename="a.png"',
    "a backslash before the quote": rb'; filename="a\"',
    "the field after it": None,
    "backslashes": rb'; filename="C:\dir\a.png"',
    "an escaped quote": rb'; filename="a\"b.png"',
    "an escaped backslash": rb'; filename="a\\"',
    "a quote for browsers": b'; filename="a%22b.png"',
    "a quote as it is": b'; filename="a"b.png"',
    "UTF-8": '; filename="ä日本.png"'.encode(),
    "Latin-1": '; filename="ä.png"'.encode("latin-1"),
    "RFC 5987": b"; filename*=UTF-8''%e4%bd%a0.png",
    "both": b"; filename=\"x.png\"; filename*=UTF-8''%e4%bd%a0.png",
    "an unknown encoding": b"; filename*=none''%ff%zz.png",
    "none": b"",
    "an empty one": b'; filename=""',
    "no quotes": b"; filename=a.png",
    "no end": b'; filename="a.png',
    "4 KB": b'; filename="%s.png"' % ("é" * 2048).encode(),
    "line breaks": b'; filename="a%0D%0Ab.png"',
    "a null": b'; filename="a\0b.png"',
    "a path": b'; filename="../../etc/passwd"',
}


def form(field, name, data, media_type=b"image/png"):
    disposition = b'form-data; name="%s"%s' % (field, name or b"")
    if name is None:
        disposition = rb'form-data; filename="a\"; name="%s"' % field
    head = b"Content-Disposition: %s\r\nContent-Type: %s\r\n\r\n" % (disposition, media_type)
    return b"--x\r\n" + head + data + b"\r\n--x--\r\n"


def post(client, path, data):
    return client.post(path, data=data, content_type="multipart/form-data; boundary=x")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_is_accepted_by_any_name(client, encode, name):
    picture = encode(noise(5, 4))
    answer = post(client, "/model/predict", form(b"image", name, picture))
    assert answer.status_code == 200, answer.json
    job = post(client, "/model/jobs", form(b"file", name, picture))
    assert job.status_code == 202, job.json
    assert "\n" not in job.json["name"]
    assert json.dumps(job.json)


def test_a_text_is_no_file(client):
    answer = post(client, "/model/predict", form(b"image", b"", b"cat.png", b"text/plain"))
    assert answer.status_code == 400
    assert "a text in the field `image`" in answer.json["message"]
    answer = post(client, "/model/predict", form(b"scale", b"", b"99", b"application/json"))
    assert "`scale` must be a number from 1 to 16" in answer.json["message"]


def test_a_message_names_no_path_of_the_server(client, tmp_path):
    clip = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x10mdatxxxxxxxx"
    answer = post(client, "/model/jobs", form(b"file", b'; filename="a.mp4"', clip, b"video/mp4"))
    assert answer.status_code == 400
    assert answer.json["message"].startswith("Clip must be an undamaged file. Received: ")
    assert "/" not in answer.json["message"]
    assert str(tmp_path) not in answer.json["message"]
