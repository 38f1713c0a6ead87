"""What to do when an object store (``s3://``, ``gs://``) fails: one line, without credentials.

fsspec, boto3 and DVC raise errors of their own for the same causes, so they are told apart by what
they say.
"""

from __future__ import annotations

from components.credentials import mask_credentials

EXTRAS = {"s3": "s3", "gs": "gs"}
"""The extra of this package that has a store's libraries, by the scheme of its URLs."""
_LIBRARIES = {"boto3": "s3", "botocore": "s3", "google": "gs", "gcsfs": "gs"}
"""The scheme of the URLs that a library reads."""
_REMEDIES = {
    "s3": {
        "bucket": "make the bucket, or correct its name",
        "credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        "denied": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment to those of "
        "a user with access",
        "connect": "is AWS_ENDPOINT_URL right?",
    },
    "gs": {"credentials": "set GOOGLE_APPLICATION_CREDENTIALS in the environment"},
}
_SIGNS = (
    ("bucket", ("nosuchbucket", "bucket does not exist")),
    ("denied", ("accessdenied", "access denied", "forbidden", "access key id you provided")),
    ("denied", ("signature we calculated", "signaturedoesnotmatch")),
    ("credentials", ("credential",)),
    ("connect", ("could not connect", "connect timeout")),
)


def failure(error: BaseException, url: str) -> str:
    """Return why the store at ``url`` failed, and the remedy if one is known.

    >>> failure(FileNotFoundError("The specified bucket does not exist"), "s3://shop/models")
    'The specified bucket does not exist: make the bucket, or correct its name'
    """
    scheme = url.partition("://")[0]
    if isinstance(error, ImportError) and scheme in EXTRAS:
        return f"a package is missing: pip install 'bowerbird[{EXTRAS[scheme]}]'"
    lines = mask_credentials(str(error)).strip().splitlines() or [type(error).__name__]
    said = f"{lines[0]} {error.__cause__ or ''}".lower()
    cause = next((cause for cause, signs in _SIGNS if any(sign in said for sign in signs)), "")
    if not cause and isinstance(error, PermissionError):
        cause = "denied"
    advice = _REMEDIES.get(scheme, {}).get(cause)
    return f"{lines[0]}: {advice}" if advice else lines[0]


def scheme_of(error: BaseException) -> str | None:
    """Return the scheme of the store whose library raised ``error`` or is missing, else None.

    >>> scheme_of(ModuleNotFoundError("No module named 'google.cloud'", name="google.cloud"))
    'gs'
    """
    module = error.name if isinstance(error, ModuleNotFoundError) else type(error).__module__
    return _LIBRARIES.get((module or "").partition(".")[0])
