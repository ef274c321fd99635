import pickle

from core.errors import Overloaded


def test_the_retry_time_survives_pickling():
    error = pickle.loads(pickle.dumps(Overloaded("Too many.", retry_after_s=7)))
    assert type(error) is Overloaded
    assert (str(error), error.retry_after_s) == ("Too many.", 7)
