"""The command line: parse first, import what a command needs after. Exit codes are those of `errors`.

In: arguments. Out: text for people on stdout, one error on stderr, an exit code. Law: `--help` imports neither Ray nor
vLLM. Not: anything a Python caller cannot do by `synth_ray.run` and the rooms.
"""
