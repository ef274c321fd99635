from jobs.cluster.broker import Broker


def test_a_message_that_cannot_be_sent_is_only_logged(caplog):
    Broker("redis://127.0.0.1:1/0").send("j")
    assert "No message could be sent" in caplog.text
