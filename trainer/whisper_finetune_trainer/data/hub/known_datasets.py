"""Data sets that people fine-tune Whisper with: their columns, configurations by language, splits and text rules.

For these data sets a spec needs only source and language, and docs/data.md shows one for each. `checked_against` says
where columns, configurations, splits and tags were looked up. None of it was read from the Hub itself. Pure.
"""

from dataclasses import dataclass, field
from typing import Mapping, Optional, Tuple

from whisper_finetune_trainer.data.text_rules import RuleName

_FLEURS = (
    "af_za am_et ar_eg as_in az_az be_by bg_bg bn_in bs_ba ca_es cs_cz cy_gb da_dk de_de el_gr en_us es_419 et_ee "
    "fa_ir fi_fi "
    "fr_fr gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id is_is it_it ja_jp ka_ge kk_kz km_kh kn_in ko_kr "
    "lb_lu ln_cd lo_la lt_lt lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt my_mm ne_np nl_nl oc_fr pa_in pl_pl ps_af "
    "pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in tg_tj th_th tr_tr uk_ua ur_pk uz_uz "
    "vi_vn yo_ng"
)
#: The configurations of FLEURS whose code is not Whisper's.
_FLEURS_OTHERS = {"zh": "cmn_hans_cn", "yue": "yue_hant_hk", "no": "nb_no", "tl": "fil_ph", "jw": "jv_id"}
_VOXPOPULI = "en de fr es pl it ro hu cs nl fi hr sk sl et lt"
_MLS = {
    "nl": "dutch",
    "fr": "french",
    "de": "german",
    "it": "italian",
    "pl": "polish",
    "pt": "portuguese",
    "es": "spanish",
}
_OPENSLR = {
    "bn": ("SLR53",),
    "ca": ("SLR69",),
    "en": ("SLR70", "SLR83"),
    "es": ("SLR71", "SLR72", "SLR73", "SLR74", "SLR75"),
    "eu": ("SLR76",),
    "gl": ("SLR77",),
    "gu": ("SLR78",),
    "jw": ("SLR35", "SLR41"),
    "km": ("SLR42",),
    "kn": ("SLR79",),
    "ml": ("SLR63",),
    "mr": ("SLR64",),
    "my": ("SLR80",),
    "ne": ("SLR43", "SLR54"),
    "si": ("SLR52",),
    "su": ("SLR36", "SLR44"),
    "ta": ("SLR65",),
    "te": ("SLR66",),
    "yo": ("SLR86",),
}


def _one_each(configs: Mapping[str, str]) -> Mapping[str, Tuple[str, ...]]:
    return {language: (config,) for language, config in configs.items()}


@dataclass(frozen=True)
class KnownDataset:
    """One data set: its name, its ids on the Hub, and what a spec need not say about it."""

    name: str
    hub_ids: Tuple[str, ...]
    text_column: str
    #: The configurations of each language. A language with several needs dataset.config.
    configs: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    audio_column: str = "audio"
    #: The split that `trainSplit: train` means if there is no split of this name.
    train_split: str = "train"
    #: A split to evaluate on, if there is one.
    eval_split: Optional[str] = None
    rules: Tuple[RuleName, ...] = ()
    gated: bool = False
    #: Where its Parquet files are, as far as it is known.
    parquet: str = ""
    #: Where these facts were looked up.
    checked_against: str = ""


KNOWN: Tuple[KnownDataset, ...] = (
    KnownDataset(
        "OpenSLR",
        ("openslr/openslr",),
        "sentence",
        configs=_OPENSLR,
        parquet="a script: the Hub's conversion, whole for the smaller sets such as SLR69",
        checked_against="its script and card in `huggingface/datasets`, as they were before they moved to the Hub",
    ),
    KnownDataset(
        "VoxPopuli",
        ("facebook/voxpopuli",),
        "normalized_text",
        configs=_one_each({code: code for code in _VOXPOPULI.split()}),
        eval_split="test",
        parquet="in the repository; before, a script with a conversion that is partial for the larger languages",
        checked_against="`voxpopuli/__init__.py` of `facebookresearch/voxpopuli` (languages), a copy of its script",
    ),
    KnownDataset(
        "FLEURS",
        ("google/fleurs",),
        "transcription",
        configs=_one_each({**{code.split("_")[0]: code for code in _FLEURS.split()}, **_FLEURS_OTHERS}),
        eval_split="test",
        parquet="a script: the Hub's conversion, whole for each language",
        checked_against="copies of its script: all 102 configurations and the columns",
    ),
    KnownDataset(
        "Multilingual LibriSpeech",
        ("facebook/multilingual_librispeech",),
        "transcript",
        configs=_one_each(_MLS),
        eval_split="test",
        parquet="in the repository",
        checked_against="a copy of its card",
    ),
    KnownDataset(
        "LibriSpeech",
        ("openslr/librispeech_asr", "librispeech_asr"),
        "text",
        configs={"en": ("clean",)},
        train_split="train.100",
        eval_split="test",
        rules=("LowerCase",),
        parquet="in the repository",
        checked_against="its script in `huggingface/datasets`",
    ),
    KnownDataset(
        "GigaSpeech",
        ("speechcolab/gigaspeech",),
        "text",
        configs={"en": ("xs",)},
        eval_split="test",
        rules=("NoSpeech", "PunctuationTags", "LowerCase"),
        gated=True,
        parquet="a script: the Hub's conversion, partial from `m` on",
        checked_against="a copy of its script; the tags by the README of `SpeechColab/GigaSpeech`",
    ),
    KnownDataset(
        "People's Speech",
        ("MLCommons/peoples_speech",),
        "text",
        configs={"en": ("clean",)},
        eval_split="test",
        parquet="in the repository",
        checked_against="a copy of its card",
    ),
    KnownDataset(
        "AMI",
        ("edinburghcstr/ami",),
        "text",
        configs={"en": ("ihm",)},
        eval_split="test",
        rules=("LowerCase",),
        parquet="in the repository",
        checked_against="a copy of an early script; the capitals by what others say who read it",
    ),
    KnownDataset(
        "TEDLIUM",
        ("LIUM/tedlium",),
        "text",
        configs={"en": ("release3",)},
        eval_split="test",
        rules=("NotScored", "UnknownWords", "SpacedApostrophes"),
        parquet="a script: the Hub's conversion, partial",
        checked_against="its script in `huggingface/datasets`; the rules by Hugging Face's own training scripts for it",
    ),
)
#: Common Voice left the Hub in October 2025. Its releases are downloads now.
_COMMON_VOICE = "mozilla-foundation/common_voice"


def find_known_dataset(source: str) -> Optional[KnownDataset]:
    """Return what is known of a data set by its Hub id or its hf:// address, or None."""
    repository = source[len("hf://") :] if source.startswith("hf://") else source
    repository = "/".join(repository.split("/")[:2]).lower()
    return next((known for known in KNOWN if repository in {name.lower() for name in known.hub_ids}), None)


def has_left_the_hub(source: str) -> Optional[str]:
    """Return in words what to do about a data set that is not on the Hub any more, or None for any other."""
    if not source.lower().startswith(_COMMON_VOICE):
        return None
    return (
        f"{source}: Common Voice left the Hub in October 2025; download the release of your language from the Mozilla "
        "Data Collective (https://datacollective.mozillafoundation.org), unpack it, and put the folder that holds "
        "clips/ and train.tsv on a volume or in a bucket: dataset.source: pvc://claim/cv-corpus/ca or "
        "s3://bucket/cv-corpus/ca, with evalSplit: test"
    )
