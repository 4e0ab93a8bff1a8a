"""Templates in YAML say the same to libyaml as to the parser that MiniStack comes with."""

import pytest
import yaml

from localcloud.engine.cloudformation import yaml_templates

TEXT = """\
AWSTemplateFormatVersion: 2010-09-09
Conditions:
  Empty: !Equals [!Ref Name, '']
  Other: !Not [!Condition Empty]
Resources:
  Function:
    Properties:
      Role: !GetAtt Role.Arn
      Part: !GetAtt [Nested, Outputs.Arn]
      Name: !Sub "${AWS::StackName}-é"
      Words: !Split [',', !Join [',', [a, b]]]
      On: yes
      Mode: 0600
      Since: 2012-10-17
      Long: >-
        one
        two
"""


def test_a_template_is_the_same_for_both_parsers() -> None:
    original = yaml_templates.engine.CfnLoader
    fast = yaml_templates._make_loader(original)
    read = yaml.load(TEXT, Loader=fast)  # noqa: S506 - a SafeLoader
    assert read == yaml.load(TEXT, Loader=original)  # noqa: S506
    assert read["Resources"]["Function"]["Properties"]["Since"] == "2012-10-17"
    assert read["Conditions"]["Other"] == {"Fn::Not": [{"Condition": "Empty"}]}


def test_rules_are_read_by_their_short_forms() -> None:
    text = "Rules: {A: {Assertions: [{Assert: !EachMemberEquals [!Ref Names, '']}, {Assert: !Contains [[a], b]}]}}"
    read = yaml.load(text, Loader=yaml_templates._make_loader(yaml_templates.engine.CfnLoader))  # noqa: S506
    said = [one["Assert"] for one in read["Rules"]["A"]["Assertions"]]
    assert said == [{"Fn::EachMemberEquals": [{"Ref": "Names"}, ""]}, {"Fn::Contains": [["a"], "b"]}]


def test_a_template_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.load("Resources: [", Loader=yaml_templates._make_loader(yaml_templates.engine.CfnLoader))  # noqa: S506
