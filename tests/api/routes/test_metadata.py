from config import ROOT


def test_the_fields_of_the_original_are_there(client):
    metadata = client.get("/model/metadata").json
    assert metadata["id"] == "max-image-resolution-enhancer"
    assert metadata["name"] == "Super-Resolution Generative Adversarial Network (SRGAN)"
    assert metadata["type"] == "Image-To-Image Translation Or Transformation"
    assert metadata["license"] == "Apache V2"
    assert metadata["source"].startswith("https://")


def test_the_description_is_that_of_the_model(client):
    assert client.get("/model/metadata").json["description"] == "A stand-in that was never trained."


def test_the_limits_are_those_in_force(client):
    assert client.get("/model/metadata").json["limits"] == {
        "max_pixels": 2000,
        "max_side": 200,
        "max_output_pixels": 32_000,
        "max_upload_bytes": 100_000,
        "max_frames": 1000,
        "formats": ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"],
        "output_formats": ["png", "jpeg", "webp", "avif"],
    }


def test_the_model_is_described(client):
    weights = client.get("/model/metadata").json["weights"]
    assert weights["name"] == "stand-in"
    assert weights["scale"] == 4
    assert weights["sha256"] == "0" * 64


def test_the_range_of_detail_is_listed(client):
    metadata = client.get("/model/metadata").json
    assert metadata["detail"] == {"least": 0.0, "most": 1.0, "default": 1.0}
    assert metadata["weights"]["faithful"] == "plain"


def test_the_kinds_of_pictures_are_those_of_the_documentation(client):
    page = (ROOT / "docs" / "formats.md").read_text()
    for taken in client.get("/model/metadata").json["pictures"]:
        bits, profiles = (", ".join(map(str, taken[name])) for name in ("bits", "profiles"))
        cells = [taken["format"], taken["pictures"], bits, "yes" if taken["alpha"] else "–"]
        assert f"| {' | '.join([*cells, profiles or '–'])} |\n" in page
