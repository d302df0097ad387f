"""Submit: sends a job to a Ray cluster, and writes it as a manifest for KubeRay.

In: a job file. Out: a package (the job, the files it names, its entrypoint), a submitted run that can be followed, left and
stopped, or YAML. Law: what would fail after the upload is refused before it; no secret is in a package, an environment or
metadata; another submission of the same job goes on with its output. Not: running; what a cluster does with it.

Public: `package.Package`, `package.package_of`, `submission.submit`, `submission.end_of`, `versions.refuse_other_version`,
`rayjob.rayjob_of`.
"""
