"""Scripts of the migrations, one per revision. A released script is never edited."""
