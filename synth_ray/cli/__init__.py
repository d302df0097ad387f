"""The command line: parses arguments first, then imports what the command needs. Exit codes are those of `errors`.

In: arguments. Out: text for people on stdout, one error on stderr, an exit code. Law: `--help` imports neither Ray nor vLLM. Not:
anything that a Python caller cannot do with `synth_ray.run` and the rooms.

Public: `main.main`, `main.parser`.
"""
