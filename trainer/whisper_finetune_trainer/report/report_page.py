"""The report as one HTML page that needs nothing else: no script, no network, no second file.

Names and texts come from the data set, so nobody vouches for them: every value is escaped, and the page's own policy
forbids scripts and the network even if one were not.
"""

import base64
import hashlib
from pathlib import Path
from typing import Mapping

import jinja2
from markupsafe import Markup

from whisper_finetune_trainer.report.report_data import ReportData

_FOLDER = Path(__file__).parent / "template"
_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)


def render(data: ReportData, sounds: Mapping[str, str]) -> str:
    """Return the page; `sounds` are data URIs of clips by identifier, for as many as there are."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_FOLDER)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates.get_template("page.html").render(
        data=data,
        sounds=sounds,
        policy=_POLICY.format(digest),
        style=Markup(style),  # noqa: S704 -- a file of this package
    )
