"""What a notebook does with s3fs and awswrangler."""

import awswrangler
import boto3
import pandas as pd
import s3fs

bucket = "data-tools"
boto3.client("s3").create_bucket(Bucket=bucket)
frame = pd.DataFrame({"price": [1.5, 2.5], "make": ["a", "b"]})

files = s3fs.S3FileSystem()
with files.open(f"{bucket}/a/b.txt", "w") as file:
    file.write("text")
assert files.ls(f"{bucket}/a") == [f"{bucket}/a/b.txt"]
assert files.cat(f"{bucket}/a/b.txt") == b"text"
frame.to_csv(f"s3://{bucket}/frame.csv", index=False)
assert pd.read_csv(f"s3://{bucket}/frame.csv").equals(frame)

awswrangler.s3.to_parquet(frame, f"s3://{bucket}/frames/", dataset=True, partition_cols=["make"])
back = awswrangler.s3.read_parquet(f"s3://{bucket}/frames/", dataset=True)
assert sorted(back["price"]) == [1.5, 2.5]
assert len(awswrangler.s3.list_objects(f"s3://{bucket}/frames/")) == 2
awswrangler.s3.delete_objects(f"s3://{bucket}/frames/")
assert awswrangler.s3.list_objects(f"s3://{bucket}/frames/") == []
print("done")
