"""What a picture's file says about itself, as XMP (ISO 16684-1)."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

NAMESPACE = "http://ns.stylefarm/picture/1.0/"
"""Of the properties that are given; readers show them as ``stylefarm:id`` and so on."""


def packet(about: Mapping[str, str]) -> bytes:
    """Return a packet of properties, always the same bytes for the same ones.

    Args:
        about: Text by the property's name, which must be a name in XML.
    """
    properties = "".join(f" stylefarm:{name}={quoteattr(text)}" for name, text in about.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f' xmlns:stylefarm="{NAMESPACE}" xmp:CreatorTool="stylefarm"{properties}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
