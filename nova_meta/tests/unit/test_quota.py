#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The allowance never lets pass what the check would not."""

from unittest import mock

import hypothesis
from hypothesis import strategies as st
from nova import exception as nova_exception
from oslo_db import exception as db_exc
import testtools

from nova_meta import quota

COUNTS = st.integers(min_value=0, max_value=300)


class OverQuota(nova_exception.OverQuota):
    pass


class AllowanceTestCase(testtools.TestCase):

    def allowance(self, limit, read=None):
        self.asked = []

        def check(count):
            self.asked.append(count)
            if count > limit:
                raise OverQuota(count)

        return quota.Allowance(check, read)

    def passes(self, allowance, count):
        """What a request does: under the lock, and if need be outside."""
        try:
            try:
                allowance.require(count)
            except quota.NotChecked as more:
                self.assertEqual(count, more.count)
                allowance.ask(count)
                allowance.require(count)
        except OverQuota:
            return False
        return True

    @hypothesis.given(COUNTS, COUNTS, st.lists(COUNTS))
    def test_passes_what_fits_and_nothing_else(self, limit, likely, counts):
        allowance = self.allowance(limit)
        allowance.expect(lambda: likely)
        for count in counts:
            self.assertEqual(count <= limit, self.passes(allowance, count))

    @hypothesis.given(COUNTS, st.lists(COUNTS))
    def test_what_has_passed_passes_again_unasked(self, limit, counts):
        allowance = self.allowance(limit)
        passed = [count for count in counts if self.passes(allowance, count)]
        self.asked.clear()
        for count in passed:
            allowance.require(count)
        self.assertEqual([], self.asked)

    @hypothesis.given(COUNTS, COUNTS, st.lists(COUNTS))
    def test_limit_that_is_read_may_be_out_of_date(self, limit, was, counts):
        allowance = self.allowance(limit, lambda: was)
        allowance.expect(lambda: self.fail('a guess'))
        for count in counts:
            self.assertEqual(count <= max(limit, was),
                             self.passes(allowance, count))
        self.assertLessEqual({*self.asked}, {*counts})

    def test_nothing_is_let_pass_unasked(self):
        not_checked = self.assertRaises(
            quota.NotChecked, self.allowance(10).require, 0)
        self.assertEqual(0, not_checked.count)

    def test_enough_is_asked_for_once(self):
        allowance = self.allowance(128)
        allowance.expect(lambda: 128)
        for count in range(129):
            allowance.require(count)
        self.assertEqual([128], self.asked)

    def test_what_is_too_many_is_asked_for_once(self):
        # As upstream does: Keystone may be slow.
        allowance = self.allowance(128)
        allowance.expect(lambda: 129)
        for count in 129, 140:
            self.assertFalse(self.passes(allowance, count))
        self.assertEqual([129], self.asked)
        self.assertTrue(self.passes(allowance, 120))

    def test_errors_are_not_taken_for_a_refusal(self):
        check = mock.Mock(side_effect=[ValueError, None])
        allowance = quota.Allowance(check)
        allowance.expect(lambda: 1)
        allowance.ask(1)
        allowance.require(1)

    def test_some_room_is_asked_for(self):
        allowance = self.allowance(100)
        self.assertTrue(self.passes(allowance, 80))
        self.assertTrue(self.passes(allowance, 81))
        self.assertEqual([100], self.asked)
        self.assertTrue(self.passes(self.allowance(80), 80))
        self.assertEqual([100, 80], self.asked)

    def test_database_that_is_down(self):
        # Every further statement would wait for it, too.
        self.assertRaises(
            db_exc.DBConnectionError,
            self.allowance(1, mock.Mock(
                side_effect=db_exc.DBConnectionError)).expect, lambda: 1)

    def test_errors_are_told_when_it_is_asked_for(self):
        def check(count):
            raise ValueError(count)

        allowance = quota.Allowance(check)
        allowance.expect(lambda: 1)
        allowance.expect(lambda: 1 // 0)
        self.assertRaises(quota.NotChecked, allowance.require, 1)
        self.assertRaises(ValueError, allowance.ask, 1)
