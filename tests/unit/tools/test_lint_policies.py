"""Each rule of the policy lint finds the mistake that it is for, and the project's template has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import lint_policies
from tools.lint_policies import ROOT

TEMPLATE = """
Parameters:
  Prefix: {Type: String, Default: raw/}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
  Table:
    Type: AWS::DynamoDB::Table
  Queue:
    Type: AWS::SQS::Queue
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement:
          - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}
      ManagedPolicyArns: [!Ref OtherPolicy]
      Policies:
        - PolicyDocument:
            Statement:
              - Sid: Data
                Effect: Allow
                Action: [s3:GetObject, s3:PutObject]
                Resource: !Sub ${Bucket.Arn}/runs/*
              - Effect: Allow
                Action: s3:GetObject
                Resource: !Sub ${Bucket.Arn}/${Prefix}*
              - Effect: Allow
                Action: dynamodb:GetItem
                Resource: !GetAtt Table.Arn
              - Effect: Allow
                Action: iam:PassRole
                Resource: !GetAtt Role.Arn
                Condition: {StringEquals: {iam:PassedToService: sagemaker.amazonaws.com}}
              - Effect: Allow
                Action: sagemaker:ListModels
                # Lists take no resource.
                Resource: '*'
              - Effect: Allow
                Action: sagemaker:DescribeModel
                Resource: !Sub arn:aws:sagemaker:${AWS::Region}:${AWS::AccountId}:model/${AWS::StackName}-*
  QueuePolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      PolicyDocument:
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Queue.Arn
          - Effect: Deny
            Principal: '*'
            Action: sqs:*
            Resource: !GetAtt Queue.Arn
"""


def found(change: tuple[str, str] = ("", "")) -> str:
    """Return the problems of the template after one replacement, as one text."""
    before, after = change
    assert TEMPLATE.count(before) == 1 or not before, f"{before!r} is to stand in the template once"
    return "\n".join(lint_policies.problems(TEMPLATE.replace(before, after, 1) if before else TEMPLATE))


def test_a_template_without_a_mistake_has_no_problem() -> None:
    assert found() == ""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("[s3:GetObject, s3:PutObject]", "s3:*", "'s3:*' is a wildcard action"),
        ("[s3:GetObject, s3:PutObject]", "'*'", "'*' is a wildcard action"),
        ("s3:PutObject]", "s3:Put*]", "'s3:Put*' is a wildcard action"),
        ("Action: dynamodb:GetItem", "NotAction: dynamodb:GetItem", "NotAction allows whatever AWS adds next"),
        ("Resource: !GetAtt Table.Arn", "NotResource: !GetAtt Table.Arn", "NotResource allows whatever"),
        ("!Sub ${Bucket.Arn}/runs/*", "'*'", "Role, line 21 (Data): Resource '*' is not the stack's own"),
        ("                # Lists take no resource.\n", "", "Resource '*' is not the stack's own"),
        ("model/${AWS::StackName}-*", "model/*", "model/*' is not the stack's own"),
        ("s3:GetObject,", "s3:GetObjekt,", "UNKNOWN_ACTION"),
        ("Action: dynamodb:GetItem", "Action: dynamodbb:GetItem", "UNKNOWN_PREFIX"),
        ("${Bucket.Arn}/runs/*", "${Bucket.Arn}", "RESOURCE_MISMATCH"),
        ("Action: dynamodb:GetItem", "Action: s3:GetObject", "RESOURCE_MISMATCH"),
        ("{iam:PassedToService: sagemaker.amazonaws.com}", "{aws:RequestedRegion: a}", "needs the condition"),
        ("Principal: {Service: events.amazonaws.com}", "Principal: '*'", "everybody is allowed"),
        ("Principal: {Service: events.amazonaws.com}", "Principal: {AWS: '*'}", "everybody is allowed"),
        ("!Ref OtherPolicy", "arn:aws:iam::aws:policy/AmazonS3FullAccess", "is a policy of AWS"),
    ],
)
def test_a_seeded_mistake_is_found(before: str, after: str, expected: str) -> None:
    assert expected in found((before, after))


def test_a_boundary_may_name_actions_by_how_they_begin_and_no_whole_service() -> None:
    """It gives nothing; any other policy would."""
    named = TEMPLATE.replace("  Role:\n", "  BoundaryPolicy:\n").replace(
        "!GetAtt Role.Arn", "!GetAtt BoundaryPolicy.Arn"
    )
    for actions, problem in (
        ("[s3:Get*, s3:PutObject]", ""),
        ("[s3:*Object, s3:PutObject]", ""),
        ("s3:*", "'s3:*' is a wildcard action"),
        ("[s3:*, s3:Put?bject]", "'s3:Put?bject' is a wildcard action"),
    ):
        told = lint_policies.problems(named.replace("[s3:GetObject, s3:PutObject]", actions))
        assert problem in "\n".join(told)
        assert bool(told) == bool(problem), told


def test_resources_that_are_written_as_one_text_are_several() -> None:
    both = "!Split [' ', !Sub ['${A}/a* ${A}/b*', {A: !GetAtt Bucket.Arn}]]"
    assert found(("!Sub ${Bucket.Arn}/runs/*", both)) == ""
    assert "RESOURCE_MISMATCH" in found(("!Sub ${Bucket.Arn}/runs/*", both.replace("/a*", "").replace("/b*", "")))


def test_a_comment_after_the_resource_explains_it_too() -> None:
    above = "                # Lists take no resource.\n                Resource: '*'"
    assert found((above, "                Resource: '*'  # Lists take no resource.")) == ""


def test_a_resource_that_the_lint_cannot_read_is_no_success() -> None:
    with pytest.raises(ValueError, match="does not understand Fn::ImportValue"):
        found(("!GetAtt Table.Arn", "!ImportValue table"))


def test_the_template_of_the_project_has_no_problem() -> None:
    assert lint_policies.problems((ROOT / "template.yaml").read_text()) == []


def test_the_statements_of_the_project_are_all_read() -> None:
    text = (ROOT / "template.yaml").read_text()
    assert len(list(lint_policies.statements(text))) == text.count("Effect: ")


def test_the_command_names_file_and_problem_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATE.replace("s3:PutObject]", "s3:Put*]"))
    assert lint_policies.main([str(file)]) == 1
    assert f"{file}: Role, line 21 (Data): 's3:Put*' is a wildcard action" in capsys.readouterr().err


def test_the_command_passes_on_the_project() -> None:
    assert lint_policies.main([]) == 0
