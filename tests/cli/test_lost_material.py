"""What `doctor` says when the vault, rows of it or the master key are lost."""

import json
import sqlite3

import pytest

from apikeyrouter.adapters.vault import key_path_beside, vault_path_beside

MATERIAL = "sk-test-lost-{}"


@pytest.fixture
def key_ids(commands):
    """Register two keys, and a third that is revoked; return the ids of the two."""
    added = commands.run("providers", "add", "openai", "--base-url", "http://127.0.0.1:9/v1")
    assert added.exit_code == 0, added.output
    ids = [
        commands.data("keys", "add", "openai", "--stdin", stdin=MATERIAL.format(number))["id"]
        for number in range(3)
    ]
    commands.data("keys", "revoke", ids.pop(), "--yes")
    return ids


def told(commands) -> dict[str, dict]:
    """Return what `doctor` finds by subject, each of which has one line."""
    result = commands.run("doctor", "--json")
    assert result.exit_code in {0, 1}, result.output
    assert "sk-test" not in result.output
    findings = json.loads(result.stdout)
    by_what = {finding["what"]: finding for finding in findings}
    assert len(by_what) == len(findings)
    assert result.exit_code == int(bool(failures(by_what)))
    return by_what


def failures(findings) -> set[str]:
    return {what for what, finding in findings.items() if finding["status"] == "fail"}


def forget(commands, *key_ids) -> None:
    connection = sqlite3.connect(vault_path_beside(commands.log))
    with connection:
        connection.executemany("delete from sealed where subject = ?", [(key_id,) for key_id in key_ids])
    connection.close()


def test_nothing_is_lost(commands, key_ids):
    """A revoked key has no material, and is not missed."""
    assert failures(told(commands)) == set()


def test_the_vault_is_gone(commands, key_ids):
    """Every key is counted, and looking makes no new vault."""
    vault = vault_path_beside(commands.log)
    kept = vault.rename(vault.with_name("kept"))
    findings = told(commands)
    assert failures(findings) == {"key material"}
    detail = findings["key material"]["detail"]
    assert f"{vault} is gone" in detail
    assert "of 2 keys" in detail
    assert "bring the vault file back, or rotate" in detail
    assert not vault.exists()
    kept.rename(vault)
    assert failures(told(commands)) == set()


def test_the_vault_lacks_a_row(commands, key_ids):
    """The key is named; its own material heals it."""
    forget(commands, key_ids[0])
    findings = told(commands)
    assert findings["vault"]["status"] == "ok"
    assert f"of 1 key ({key_ids[0]}):" in findings["key material"]["detail"]
    commands.data("keys", "rotate", key_ids[0], "--stdin", stdin=MATERIAL.format(0))
    assert failures(told(commands)) == set()


def test_a_vault_that_was_made_anew(commands, key_ids):
    """A start without the vault makes an empty one: the keys are missing as before, and it is said."""
    vault_path_beside(commands.log).unlink()
    assert commands.run("keys", "disable", key_ids[0]).exit_code == 0
    findings = told(commands)
    assert "holds no material of 2 keys" in findings["key material"]["detail"]


def test_no_vault_yet(commands):
    """A folder where nothing was begun is sound."""
    assert told(commands)["vault"]["detail"].startswith("none yet")


def test_the_master_key_is_gone(commands, key_ids):
    """It is the failure, and the only one."""
    file = key_path_beside(commands.log)
    file.unlink()
    findings = told(commands)
    assert failures(findings) == {"master key"}
    assert f"{file} is gone" in findings["master key"]["detail"]
    assert "bring it back" in findings["master key"]["detail"]


def test_a_named_master_key_file_is_gone(commands, key_ids, monkeypatch, tmp_path):
    monkeypatch.setenv("APIKEYROUTER_MASTER_KEY_FILE", str(tmp_path / "elsewhere.key"))
    findings = told(commands)
    assert failures(findings) == {"master key"}
    assert "elsewhere.key is gone" in findings["master key"]["detail"]


def test_a_log_with_a_hole_is_still_examined(commands, key_ids):
    """Where the events do not fold, the hole is named and the keys are not guessed."""
    connection = sqlite3.connect(commands.log)
    with connection:
        connection.execute("delete from stored_events where topic = 'key.registered.v1'")
    connection.close()
    assert {"log positions", "key material"} <= failures(told(commands))
