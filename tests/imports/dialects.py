"""The dialects of CSV that programs write, and names that are hard to write."""

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Written:
    """How a program writes CSV. `source`: where it says so."""

    program: str
    encoding: str
    mark: bytes = b""
    delimiter: str = ","
    line_end: str = "\n"
    quoting: int = csv.QUOTE_MINIMAL
    first_line: str = ""
    source: str = ""

    def write(self, rows: Sequence[Sequence[str]]) -> bytes:
        """The file. Python before 3.13 does not quote a line break that is not the dialect's own; these programs do."""
        lines = [self.first_line]
        for row in rows:
            text = io.StringIO(newline="")
            csv.writer(text, delimiter=self.delimiter, lineterminator=CRLF, quoting=self.quoting).writerow(row)  # type: ignore[arg-type]
            lines.append(text.getvalue().removesuffix(CRLF) + self.line_end)
        return self.mark + "".join(lines).encode(self.encoding)


CRLF: Final = "\r\n"
DIALECTS: Final = (
    Written("Excel, CSV UTF-8", "utf-8", codecs.BOM_UTF8, line_end=CRLF, source="Microsoft: Save a workbook to text format"),
    Written("Excel, CSV UTF-8, decimal comma", "utf-8", codecs.BOM_UTF8, ";", CRLF, source="the list separator of the region"),
    Written("Excel, CSV, Western Europe", "cp1252", b"", ";", CRLF, source="the ANSI code page of Windows"),
    Written("Excel, CSV, North America", "cp1252", b"", ",", CRLF, source="the ANSI code page of Windows"),
    Written("Excel, Unicode text (.txt)", "utf-16-le", codecs.BOM_UTF16_LE, "\t", CRLF, source="Microsoft: file formats"),
    Written("Excel, Text, tab delimited (.txt)", "cp1252", b"", "\t", CRLF, source="Microsoft: file formats"),
    Written("Excel for Mac, CSV", "mac-roman", b"", ";", "\r", source="Microsoft: file formats, CSV (Macintosh)"),
    Written("Excel, with a line sep=;", "utf-8", codecs.BOM_UTF8, ";", CRLF, first_line="sep=;\r\n", source="exporters"),
    Written("LibreOffice", "utf-8", source="Export of text files: character set, field delimiter"),
    Written("LibreOffice, all texts quoted", "utf-8", b"", ";", quoting=csv.QUOTE_ALL, source="as above"),
    Written("LibreOffice, UTF-16", "utf-16-le", codecs.BOM_UTF16_LE, "\t", source="as above"),
    Written("Numbers", "utf-8", b"", ";", CRLF, source="Export To, CSV: Unicode (UTF-8), by region comma or semicolon"),
    Written("Numbers, Western (Mac OS Roman)", "mac-roman", b"", ",", CRLF, source="Export To, CSV, text encoding"),
    Written("Shopify", "utf-8", source="help.shopify.com: export of customers and orders"),
    Written("WooCommerce", "utf-8", codecs.BOM_UTF8, source="class-wc-csv-exporter.php"),
    Written("Magento", "utf-8", quoting=csv.QUOTE_ALL, source="Magento: export of customers"),
    Written("LoyaltyLion", "utf-8", source="support.loyaltylion.com: export of customers"),
    Written("Smile.io", "utf-8", source="help.smile.io: export of customers"),
    Written("Yotpo", "utf-8", source="support.yotpo.com: exporting points and customers"),
    Written("pipes", "utf-8", b"", "|"),
    Written("UTF-16 BE", "utf-16-be", codecs.BOM_UTF16_BE, ";", CRLF),
    Written("UTF-16 without a mark", "utf-16-le", b"", ",", CRLF),
)  # fmt: skip

HOSTILE: Final = (
    'Ann "Annie" Lee', '"', '""', "a,b;c\td|e", "first\nsecond", "first\r\nsecond", "first\rsecond", '",\n1,x@y.example,"z"',
    "=1+1", "+49 30", "-1", "@sum", "O'Brien", "'t Hooft", "שָׁלוֹם", "محمد", "👩‍🚀", "Zoë", "Łukasz", "sep=;", "\\", '\\"',
    "x" * 5000, "NULL", "0042", "1E+15", "a\u2028b", "a\x0bb", "a\x85b", "a\u00a0b",
)  # fmt: skip
"""Values that a careless reader splits, merges or changes."""
