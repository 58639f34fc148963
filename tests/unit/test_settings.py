"""The environment becomes one object, or an error that names what to mend."""

from pathlib import Path

import pytest

from questline.settings import SettingError, Settings, environment_of, load, unknown_variables


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load({}) == Settings()


def test_settings_survive_the_way_through_the_environment_of_a_child() -> None:
    settings = Settings(
        dsn="postgresql://a@/b?host=/tmp",
        port=9000,
        dev=True,
        data_dir=Path("/x"),
        log_format="pretty",
        retry_seconds=(3, 9),
    )
    assert load(environment_of(settings)) == settings


def test_a_command_has_defaults_of_its_own_for_what_the_environment_does_not_say() -> None:
    assert load({}, log_format="pretty").log_format == "pretty"
    assert load({"QUESTLINE_LOG_FORMAT": "json"}, log_format="pretty").log_format == "json"


@pytest.mark.parametrize(
    ("variable", "text", "advice"),
    [
        ("QUESTLINE_PORT", "http", "use a whole number of port, 0 or more"),
        ("QUESTLINE_PORT", "-1", "use a whole number of port, 0 or more"),
        ("QUESTLINE_PORT", "65536", "use a port up to 65535"),
        ("QUESTLINE_PORT", "٣", "use a whole number of port, 0 or more"),
        ("QUESTLINE_LANES", "0", "use a whole number of lanes, 1 or more"),
        ("QUESTLINE_RETRY_SECONDS", "1,x", "use whole numbers of seconds, separated by commas"),
        ("QUESTLINE_RETRY_JITTER_PERCENT", "101", "use a percentage up to 100"),
        ("QUESTLINE_DEV", "maybe", "use true or false"),
        ("QUESTLINE_LOG_LEVEL", "loud", "use one of debug, info, warning, error"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_would_do(variable: str, text: str, advice: str) -> None:
    with pytest.raises(SettingError) as raised:
        load({variable: text})
    assert str(raised.value) == f"{variable} is {text!r}; {advice}"


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(SettingError, match=r"QUESTLINE_PORT .*QUESTLINE_DEV "):
        load({"QUESTLINE_DEV": "x", "QUESTLINE_PORT": "x"})


def test_a_variable_that_no_setting_reads_is_found() -> None:
    assert unknown_variables({"QUESTLINE_PROT": "1", "QUESTLINE_PORT": "1", "PATH": ""}) == ["QUESTLINE_PROT"]
