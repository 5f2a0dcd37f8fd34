# What SpamAssassin makes of message files: path, score, rules, sub-rules (with counts), separated by tabs. No network but a DNS server at SA_DNS (address:port),
# no learning.
use strict;
use warnings;
use Mail::SpamAssassin;
my $dns = $ENV{SA_DNS};
my $sa = Mail::SpamAssassin->new({ local_tests_only => !$dns, dont_copy_prefs => 1, userprefs_filename => '/dev/null',
	rules_filename => '/usr/share/spamassassin', site_rules_filename => $ENV{SA_SITE} || '/etc/spamassassin',
	post_config_text => "use_bayes 0\nuse_auto_whitelist 0\n" . ($dns ? "dns_available yes\ndns_server $dns\nrbl_timeout 20 20\n" : '') });
$sa->compile_now(0);
$| = 1;
while (my $file = @ARGV ? shift @ARGV : <STDIN>) {
	chomp $file;
	open my $h, '<', $file or next;
	my $text = do { local $/; <$h> };
	close $h;
	my $message = $sa->parse($text);
	my $status = $sa->check($message);
	my $subs = $status->get_names_of_subtests_hit('dbg') || '';
	$subs =~ s/ \(Total.*//;
	print join("\t", $file, sprintf('%.3f', $status->{score}), join(',', sort split /,/, $status->get_names_of_tests_hit()), $subs), "\n";
	$status->finish;
	$message->finish;
}
