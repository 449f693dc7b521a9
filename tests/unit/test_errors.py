from core.errors import ConfigurationError, EmptyFile, FractureError


def test_an_error_without_words_says_its_docstring() -> None:
    assert str(EmptyFile()) == "The file is empty (0 bytes)."


def test_all_problems_are_named_at_once() -> None:
    assert str(ConfigurationError.of(["One is wrong.", "Two is wrong."])) == "One is wrong. Two is wrong."


def test_every_error_has_a_code_and_a_sentence() -> None:
    def below(kind: type[FractureError]) -> list[type[FractureError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    for kind in below(FractureError):
        assert kind.code == kind.code.lower()
        assert str(kind()).endswith((".", "`")), kind
