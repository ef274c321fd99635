import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from core.images import ImageOutput, decode_image, encode_picture, mark_synthetic_detail
from core.images.metadata import ENHANCED, MAX_XMP_BYTES, clean_exif, clean_xmp
from tests.support.picture_files import Tag, png, tiff
from tests.support.stand_ins import noise

RGB = noise(12, 18)
Base, IFD = ExifTags.Base, ExifTags.IFD

PACKET = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    tiff:Orientation="1" xmp:CreatorTool="A &amp; B"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt></dc:title>
   <xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
   <tiff:Orientation>1</tiff:Orientation>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">&b;</r:RDF>'
)
OUTSIDE = (
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd">'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'
)
RDF = b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'


def saved(file_format, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, file_format, **options)
    return file.getvalue()


def png_with_xmp():
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", PACKET.decode())
    return saved("PNG", pnginfo=text)


def exif(**tags):
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Copyright] = "Maker", "Somebody"
    exif[Base.Orientation] = 3
    exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = 120.0, 240.0, 2
    exif[IFD.Exif] = {
        Base.DateTimeOriginal: "2026:01:02 03:04:05",
        Base.ExposureTime: 0.25,
        Base.ExifImageWidth: 18,
        Base.MakerNote: b"points into the file",
    }
    exif[IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (1.0, 2.0, 3.0),
    }
    for name, value in tags.items():
        exif[Base[name]] = value
    return exif.tobytes()


def parsed(data):
    kept = Image.Exif()
    kept.load(data)
    return kept


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_keeps_only_tags_that_are_true_of_the_output(file_format):
    kept = parsed(decode_image(saved(file_format, exif=exif())).extras.exif)
    assert dict(kept).keys() == {Base.Make, Base.Copyright, IFD.Exif, IFD.GPSInfo}
    assert (kept[Base.Make], kept[Base.Copyright]) == ("Maker", "Somebody")
    tags = kept.get_ifd(IFD.Exif)
    assert tags == {Base.DateTimeOriginal: "2026:01:02 03:04:05", Base.ExposureTime: 0.25}
    assert kept.get_ifd(IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (1.0, 2.0, 3.0)


def test_the_thumbnail_of_exif_is_not_kept():
    data = saved("JPEG", exif=with_thumbnail(exif()))
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(IFD.IFD1) == {270: "THUMBNAIL"}
    kept = decode_image(data).extras.exif
    assert parsed(kept).get_ifd(IFD.IFD1) == {}
    assert b"THUMBNAIL" not in kept


def with_thumbnail(data):
    """Add a second directory, as of a thumbnail, to EXIF."""
    head, body = data[:6], bytearray(data[6:])
    order = "big" if body[:2] == b"MM" else "little"
    first = int.from_bytes(body[4:8], order)
    link = first + 2 + 12 * int.from_bytes(body[first : first + 2], order)
    body[link : link + 4] = len(body).to_bytes(4, order)
    entry = [(1, 2), (270, 2), (2, 2), (10, 4), (len(body) + 18, 4), (0, 4)]
    body += b"".join(value.to_bytes(size, order) for value, size in entry) + b"THUMBNAIL\0"
    return head + bytes(body)


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0what?"]
)
def test_damaged_exif_is_dropped(damaged):
    picture = decode_image(saved("WEBP", lossless=True, exif=damaged))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.extras.exif is None


def test_exif_that_cannot_be_written_is_dropped():
    damaged = Image.Exif()
    damaged[Base.Make] = object()
    assert clean_exif(damaged) is None


def test_exif_too_long_for_jpeg_is_dropped():
    assert decode_image(saved("PNG", exif=exif(ImageDescription="a" * 70_000))).extras.exif is None


DPI = {
    "PNG": (lambda: saved("PNG", dpi=(120, 240)), (120, 240)),
    "JPEG": (lambda: saved("JPEG", dpi=(120, 240)), (120, 240)),
    "BMP": (lambda: saved("BMP", dpi=(120, 240)), (120, 240)),
    "TIFF": (lambda: saved("TIFF", dpi=(120, 240)), (120, 240)),
    "TIFF in centimetres": (
        lambda: saved("TIFF", x_resolution=100.0, y_resolution=50.0, resolution_unit=3),
        (254, 127),
    ),
    "WebP, by EXIF": (lambda: saved("WEBP", exif=exif()), (120, 240)),
    "AVIF, by EXIF": (lambda: saved("AVIF", exif=exif()), (120, 240)),
    "JPEG, by EXIF": (lambda: saved("JPEG", exif=exif()), (120, 240)),
    "JPEG on its side": (
        lambda: saved("JPEG", dpi=(120, 240), exif=exif(Orientation=6)),
        (240, 120),
    ),
    "JPEG with EXIF that has none": (lambda: saved("JPEG", exif=bare_exif()), None),
    "PNG without": (lambda: saved("PNG"), None),
    "JPEG without": (lambda: saved("JPEG"), None),
    "TIFF without": (lambda: tiff(RGB), None),
    "PNG with none at all": (lambda: png(RGB, before=[(b"pHYs", bytes(8) + b"\1")]), None),
    "PNG with a text of that name": (lambda: png(RGB, before=[(b"tEXt", b"dpi\0many")]), None),
    "TIFF with a ratio": (
        lambda: saved("TIFF", x_resolution=100.0, y_resolution=50.0, resolution_unit=1),
        None,
    ),
}


def bare_exif():
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    return exif.tobytes()


@pytest.mark.parametrize("name", DPI)
def test_the_resolution_is_read_from_every_place_that_states_it(name):
    make, expected = DPI[name]
    dpi = decode_image(make()).extras.dpi
    assert dpi == (expected and pytest.approx(expected, abs=0.2))


XMP = {
    "PNG": png_with_xmp,
    "JPEG": lambda: saved("JPEG", xmp=PACKET),
    "WebP": lambda: saved("WEBP", xmp=PACKET),
    "AVIF": lambda: saved("AVIF", xmp=PACKET),
    "HEIC": lambda: saved("HEIF", xmp=PACKET),
    "TIFF": lambda: tiff(RGB, tags=[Tag(700, list(PACKET), 7)]),
}


@pytest.mark.parametrize("name", XMP)
def test_xmp_keeps_only_properties_that_are_true_of_the_output(name):
    kept = decode_image(XMP[name]()).extras.xmp
    ElementTree.fromstring(kept)
    assert b"Thumbnails" not in kept
    assert b"tiff:Orientation" not in kept
    assert b'xmp:CreatorTool="A &amp; B"' in kept
    assert b'<rdf:li xml:lang="x-default">A title</rdf:li>' in kept


GAIN_MAP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Camera" '
    b'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    b'xmlns:Item="http://ns.google.com/photos/1.0/container/item/">'
    b'<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
    b'Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="9"/></rdf:li></rdf:Seq>'
    b"</Container:Directory><hdrgm:GainMapMax>3</hdrgm:GainMapMax>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def test_the_claim_of_a_gain_map_is_dropped():
    """A JPEG for HDR displays is followed by a gain map, which the output does not have."""
    kept = clean_xmp(GAIN_MAP)
    ElementTree.fromstring(kept)
    assert b'xmp:CreatorTool="Camera"' in kept
    for claim in (b"hdrgm", b"hdr-gain-map", b"Container", b"GainMap", b"Item"):
        assert claim not in kept


def test_the_index_of_further_pictures_is_dropped():
    image, gain_map = Image.fromarray(RGB), Image.fromarray(RGB[..., 0])
    file = io.BytesIO()
    image.save(file, "MPO", save_all=True, append_images=[gain_map], xmp=GAIN_MAP)
    assert b"MPF" in file.getvalue()
    picture = decode_image(file.getvalue())
    made = encode_picture(picture, ImageOutput("jpeg", extras=picture.extras))
    for claim in (b"MPF", b"hdrgm", b"GainMap"):
        assert claim not in made


def test_an_orientation_that_only_xmp_states_is_applied():
    packet = PACKET.replace(b'Orientation="1"', b'Orientation="6"')
    picture = decode_image(saved("WEBP", lossless=True, xmp=packet))
    np.testing.assert_array_equal(picture.pixels, np.rot90(RGB, -1))


@pytest.mark.parametrize(
    "packet",
    [
        None,
        "text",
        b"",
        b"<x>",
        b"<x/>",
        LAUGHS,
        OUTSIDE,
        RDF + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</r:RDF>",
        RDF + b" " * MAX_XMP_BYTES + b"</r:RDF>",
        "\N{EURO SIGN}".encode("utf-16"),
    ],
)
def test_damaged_or_dangerous_xmp_is_dropped(packet):
    assert clean_xmp(packet) is None


def source_types(packet):
    root = ElementTree.fromstring(packet)
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    return [e.text for e in root.iter(name)] + [e.get(name) for e in root.iter() if e.get(name)]


def test_the_mark_is_written_without_a_packet():
    assert source_types(mark_synthetic_detail(None)) == [ENHANCED]


def test_the_mark_joins_a_packet_and_replaces_another_source_type():
    noted = mark_synthetic_detail(clean_xmp(PACKET))
    assert source_types(noted) == [ENHANCED]
    assert b"A title" in noted
    about = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
    descriptions = [e.get(about) for e in ElementTree.fromstring(noted).iter() if e.get(about)]
    assert descriptions == ["uuid:1", "uuid:1"]


def test_a_marked_packet_is_marked_only_once():
    once = mark_synthetic_detail(clean_xmp(PACKET))
    assert source_types(mark_synthetic_detail(once)) == [ENHANCED]


def test_the_mark_replaces_a_damaged_packet():
    assert source_types(mark_synthetic_detail(b"<x>")) == [ENHANCED]
