"""What the demo shows of a run, from the run's status alone."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from demo import bucket, commands, following, operator_installation, volume
from demo.demo_cluster import DemoCluster
from demo.faults import DemoError, NoAnswerError
from demo.folders import DemoFolders
from demo.input import recipe
from demo.result import table, verification
from demo.scenarios import IN_BUCKET, SCENARIOS
from demo.stopwatch import Stopwatch
from object_store.versitygw import ObjectStore
from whisper_finetune_api.v1alpha1 import ClipSubset, Result, WhisperFineTuneSpec, WhisperFineTuneStatus, WordErrorRate
from whisper_finetune_operator.planning.runtimes import Runtimes

TIME = "2026-01-01T00:00:00Z"


def run_in(state: str, reason: str = "", message: str = "it is on its way", **status: Any) -> dict[str, Any]:
    succeeded = {"Succeeded": "True", "Failed": "False"}.get(state, "Unknown")
    condition = {
        "type": "Succeeded",
        "status": succeeded,
        "reason": reason or state,
        "message": message,
        "lastTransitionTime": TIME,
        "observedGeneration": 1,
    }
    return {"status": {"observedGeneration": 1, "state": state, "conditions": [condition], **status}}


PROGRESS = {"step": 50, "totalSteps": 100, "percent": 50, "loss": "1.25"}
EVALUATING = {"step": 0, "totalSteps": 100, "percent": 0, "evaluatedClips": 63, "clipsToEvaluate": 105}
BASELINE = {"wer": "47.70", "normalizedWer": "28.00"}


def test_a_run_that_the_operator_has_not_seen_is_pending() -> None:
    sight = following.read_progress({"metadata": {"name": "italian"}})
    assert (sight.state, sight.stage, sight.waits_for) == ("Pending", "starting the pod", "")


def test_what_a_run_waits_for_is_said_with_its_reason() -> None:
    sight = following.read_progress(run_in("Pending", "VolumeNotFound", "the claim speech is missing"))
    assert sight.waits_for == "waiting: VolumeNotFound: the claim speech is missing"


def test_evaluations_before_and_after_the_training_are_told_apart_by_its_steps() -> None:
    before = (run_in("Evaluating"), run_in("Evaluating", progress=EVALUATING, baseline=BASELINE))
    assert {following.read_progress(run).stage for run in before} == {"evaluating before training"}
    after = run_in("Evaluating", progress={**EVALUATING, "step": 100})
    assert following.read_progress(after).stage == "evaluating after training"


def test_following_shows_each_stage_once_and_ends_with_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SECONDS_BETWEEN_READS", 0.0)
    seen = [
        run_in("Pending"),
        run_in("Pending", "Unschedulable", "no node can take the pod"),
        run_in("Evaluating", progress=EVALUATING),
        run_in("Training", baseline=BASELINE, progress=PROGRESS),
        run_in("Training", baseline=BASELINE, progress=PROGRESS),
        run_in("Succeeded", baseline=BASELINE),
    ]
    looks, watch = iter(seen), Stopwatch()
    assert following.follow(lambda: next(looks), watch).state == "Succeeded"
    assert list(watch.seconds) == ["starting the pod", "evaluating before training", "training"]
    told = capsys.readouterr().err
    assert told.count("waiting: Unschedulable: no node can take the pod") == 1
    assert told.count("waiting: ") == 1
    assert told.count("evaluating before training ...") == 1
    assert "63/105" in told
    assert "50/100" in told
    assert "loss 1.25" in told


def test_a_run_that_does_not_start_is_given_up_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SECONDS_BETWEEN_READS", 0.0)
    monkeypatch.setattr(following, "SECONDS_TO_WAIT", 0)
    waiting = itertools.repeat(run_in("Pending", "ImagePullFailed", "trainer:0.1.0 cannot be pulled"))
    with pytest.raises(DemoError, match=r"ImagePullFailed: trainer:0\.1\.0 cannot be pulled"):
        following.follow(lambda: next(waiting), Stopwatch())


def test_a_run_that_somebody_deletes_is_not_waited_for() -> None:
    with pytest.raises(DemoError, match="the run is gone"):
        following.follow(lambda: None, Stopwatch())


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SECONDS_BETWEEN_READS", 0.0)
    answers = iter([NoAnswerError("refused"), run_in("Succeeded", baseline=BASELINE)])
    assert following.follow(lambda: answer(next(answers)), Stopwatch()).state == "Succeeded"


def test_an_api_server_that_stays_away_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SECONDS_BETWEEN_READS", 0.0)
    monkeypatch.setattr(following, "SECONDS_WITHOUT_ANSWER", 0)
    with pytest.raises(NoAnswerError, match="refused"):
        following.follow(lambda: answer(NoAnswerError("refused")), Stopwatch())


def answer(given: dict[str, Any] | Exception) -> dict[str, Any]:
    if isinstance(given, Exception):
        raise given
    return given


def test_an_address_where_nobody_listens_gives_no_answer() -> None:
    nowhere = client.Configuration(host="http://127.0.0.1:1", retries=False)
    with client.ApiClient(nowhere) as api, pytest.raises(NoAnswerError, match="does not answer"):
        DemoCluster(api).run("italian")


UNSEEN = ClipSubset(clips=95, baseline="30.00", result="26.00", difference_low="-8.10", difference_high="0.40")
RESULT = Result(
    wer="41.80", normalized_wer="21.60", difference_low="-9.90", difference_high="-3.10", unseen_texts=UNSEEN
)


def test_the_table_holds_both_figures_their_intervals_and_a_note_where_one_holds_zero() -> None:
    before = WordErrorRate(wer="47.70", normalized_wer="28.00")
    assert table.figures(before, RESULT).splitlines() == [
        "word error rate in percent               before      after    change (95 % interval)",
        "normalized                                28.00      21.60    -6.40 (-9.90 to -3.10)",
        "normalized, 95 unseen texts               30.00      26.00     -4.00 (-8.10 to 0.40)",
        "as written                                47.70      41.80                     -5.90",
        "note: the interval over texts that do not occur in train holds zero, so this change may be chance",
    ]


def test_the_table_tells_of_loops() -> None:
    before = WordErrorRate(wer="47.70", normalized_wer="28.00", looped_clips=1, score_with_loops="151.00")
    rest = ClipSubset(clips=104, baseline="27.80", result="21.50", difference_low="-9.80", difference_high="-3.00")
    after = RESULT.model_copy(update={"unseen_texts": None, "without_loops": rest})
    assert table.figures(before, after).splitlines()[1:] == [
        "normalized                                28.00      21.60    -6.40 (-9.90 to -3.10)",
        "normalized, 104 clips without loops       27.80      21.50    -6.30 (-9.80 to -3.00)",
        "normalized, if all of loops counted      151.00      21.60                   -129.40",
        "as written                                47.70      41.80                     -5.90",
        "note: of a text that never ends or repeats its end nothing counts as heard: 1 before, 0 after",
    ]


def test_the_facts_name_clips_steps_hardware_and_normalizer() -> None:
    status = WhisperFineTuneStatus.model_validate(
        {
            "data": {"trainClips": 420, "evalClips": 105, "droppedClips": 0, "split": "Fraction"},
            "progress": {"step": 100, "totalSteps": 100, "percent": 100},
            "ranOn": {"hardware": "CPU, 2 threads", "software": "torch 2", "precision": "Half"},
            "metric": {"normalizer": "basic with marks"},
        }
    )
    assert table.facts(status, 215.2).splitlines() == [
        "clips       420 trained on, 105 held out, 0 dropped",
        "training    100 steps in 215 s",
        "ran on      CPU, 2 threads, precision Half",
        "with        torch 2",
        "normalizer  basic with marks",
    ]


def test_the_facts_name_what_was_measured_besides() -> None:
    recordings = {"recordings": 3, "seconds": 246, "boundaries": 210, "baselineFound": 134, "resultFound": 150}
    joined = {**recordings, "baselineSeconds": "0.41", "resultSeconds": "0.38"}
    scores = {"baseline": "12.97", "result": "10.10", "differenceLow": "-5.00", "differenceHigh": "1.00"}
    status = WhisperFineTuneStatus.model_validate(
        {
            "evaluations": [
                {"name": "radio", "verdict": "Better", **scores},
                {"name": "long-form", "verdict": "NotShown", **scores, "recordings": joined},
            ]
        }
    )
    found = "of 210 boundaries 134 found (median error 0.41 s) before, 150 found (median error 0.38 s) after"
    assert table.facts(status, 0.0).splitlines() == [
        "radio       score 12.97 -> 10.10 % (-5.00 to 1.00), Better",
        f"long-form   score 12.97 -> 10.10 % (-5.00 to 1.00), NotShown; {found}",
    ]
    refused = {"evaluations": [{"name": "long-form", "verdict": "NotMeasured", "reason": "this model cannot"}]}
    assert (
        table.facts(WhisperFineTuneStatus.model_validate(refused), 0.0) == "long-form   NotMeasured: this model cannot"
    )


def test_the_facts_name_exports_and_why_one_was_refused() -> None:
    figures = {"clips": 105, "score": "17.29", "modelScore": "17.29", "bytes": 148_400_000, "speed": "31.25"}
    exports = [{"name": "CTranslate2", **figures}, {"name": "CTranslate2Int8", "refused": "it hears other words"}]
    assert table.facts(WhisperFineTuneStatus.model_validate({"exports": exports}), 0.0).splitlines() == [
        "CTranslate2 score 17.29 % over 105 clips, of the model 17.29 %; 148 MB; 31.25 s of sound in a second",
        "CTranslate2Int8 refused: it hears other words",
    ]


def test_the_breakdown_ends_with_everything() -> None:
    assert table.breakdown({"training": 215.2}, 600.0) == " 03:35  training\n 10:00  everything"


def test_the_example_is_valid_and_names_what_the_volume_holds(tmp_path: Path) -> None:
    spec = WhisperFineTuneSpec.model_validate(SCENARIOS["cpu"].run["spec"])
    folders = DemoFolders(tmp_path)
    assert tmp_path / volume.folder_of(spec.model, Path()) == folders.model
    assert tmp_path / volume.folder_of(spec.dataset.source, Path()) == folders.speech
    assert volume.folder_of(spec.output.uri, Path()) == Path(volume.RUNS)


def test_the_volume_is_filled_once_and_again_where_the_data_changed(tmp_path: Path) -> None:
    folders, shared = DemoFolders(tmp_path / "made"), tmp_path / "volume"
    shared.mkdir()
    for folder in (folders.model, folders.speech):
        with recipe.making(folder, "one") as made:
            (made / "content").write_text("one")
    folders.licences.write_text("MIT")
    volume.fill(folders, shared)
    copy = shared / "speech" / "it" / "content"
    copy.write_text("left alone")
    volume.fill(folders, shared)
    assert copy.read_text() == "left alone"
    with recipe.making(folders.speech, "two") as made:
        (made / "content").write_text("two")
    volume.fill(folders, shared)
    assert copy.read_text() == "two"
    assert (shared / "runs").stat().st_mode & 0o777 == 0o777


def test_only_the_folders_of_the_demos_own_runs_are_forgotten(tmp_path: Path) -> None:
    for name in ("italian-12345678", "catalan-12345678"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    volume.forget_runs(tmp_path, "italian")
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["catalan-12345678"]


def test_claim_and_volume_name_each_other() -> None:
    made, claim = volume.manifests(Path("/node/folder"), "default")
    assert made["spec"]["claimRef"] == {"namespace": "default", "name": claim["metadata"]["name"]}
    assert claim["spec"]["volumeName"] == made["metadata"]["name"]
    assert made["spec"]["hostPath"]["path"] == "/node/folder"


def test_the_operators_image_changes_its_pod() -> None:
    annotations = operator_installation.values(SCENARIOS["cpu"])["podAnnotations"]
    assert annotations == {"whisperfinetune.dev/image": operator_installation.OPERATOR.key()}


def test_the_held_out_clips_are_a_fifth_drawn_by_the_rule(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"audio": f"clips/{number}.wav"}) + "\n" for number in range(10)))
    assert verification.held_out(manifest, 0.2) == ["clips/7.wav", "clips/8.wav"]


def test_two_measurements_agree_or_it_is_an_error() -> None:
    assert verification.verdict(21.6, 22.9).endswith("they agree within 1.5 points")
    with pytest.raises(DemoError, match=r"status 21\.60, measured 23\.20 \(\+1\.60\): more than 1\.5 points apart"):
        verification.verdict(21.6, 23.2)


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_way_through_the_demo_names_a_runtime_that_the_operator_takes(name: str) -> None:
    scenario = SCENARIOS[name]
    offered = Runtimes.model_validate(scenario.runtimes)
    spec = WhisperFineTuneSpec.model_validate(scenario.run["spec"])
    assert offered.default_runtime == name
    assert spec.runtime in (None, name)
    assert offered.runtimes[0].image == scenario.trainer.image


def test_what_was_emulated_is_said_at_the_end_and_in_the_images_name() -> None:
    scenario = SCENARIOS["ipu-emulated"]
    assert "EMULATED" in scenario.caveat
    assert "emulated" in scenario.trainer.image
    assert not SCENARIOS["cpu"].caveat


def test_an_unknown_runtime_is_refused_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["demo", "run", "--runtime", "ipu"])
    assert commands.run() == 1
    assert capsys.readouterr().err == "error: there is no demo for runtime 'ipu': take cpu or ipu-emulated\n"


def test_the_demo_from_bucket_to_bucket_is_the_same_training() -> None:
    from_volume, from_bucket = SCENARIOS["cpu"].run["spec"], IN_BUCKET["cpu"].run["spec"]
    WhisperFineTuneSpec.model_validate(from_bucket)
    addresses = {"model", "dataset", "output", "secretRefs"}
    assert {field: from_bucket[field] for field in from_bucket if field not in addresses} == {
        field: from_volume[field] for field in from_volume if field not in addresses
    }
    assert from_bucket["secretRefs"][0]["name"] == bucket.SECRET
    store = ObjectStore("http://10.0.0.1:7070", "key", "secret", Path("/nowhere"))
    assert set(bucket.secret(store, "default")["stringData"]) == set(from_bucket["secretRefs"][0]["keys"])


def test_a_result_in_the_bucket_is_found_on_this_machine(tmp_path: Path) -> None:
    assert volume.folder_of("s3://speech/runs/italian-s3-1/model", tmp_path) == tmp_path / "runs/italian-s3-1/model"
