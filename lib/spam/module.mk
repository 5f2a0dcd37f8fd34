$(call library,spam.c fingerprint.c set.c globs.c nets.c read.c cond.c expr.c directives.c rule.c tags.c finish.c regex.c require.c machine.c prefilter.c gate.c patterns.c strings.c \
	decode.c msg.c head.c addrs.c received.c relays.c parts.c text.c html.c render.c style.c uri.c canon.c domain.c run.c costs.c eval_head.c eval_date.c \
	eval_relay.c eval_html.c eval_mime.c eval_body.c eval_list.c eval_misc.c tokens.c bayes.c learn.c taught.c autolearn.c)
$(call tool,spamdump,tool_spamdump.c,spam map mail os log base)
$(call unittest,test_rules,test_rules.c,spam map mail os log base test)
$(call unittest,test_texts,test_texts.c,spam map mail os log base test)
$(call unittest,test_prefilter,test_prefilter.c,spam map mail os log base test)
$(call fuzzer,fuzz_rules,fuzz_rules.c,spam map mail os log base)
$(call fuzzer,fuzz_spam,fuzz_spam.c,spam map mail os log base)
$(call fuzzer,fuzz_prefilter,fuzz_prefilter.c,spam map mail os log base)
$(call unittest,test_bayes,test_bayes.c,spam map mail os log base test)
$(call unittest,test_taught,test_taught.c,spam map mail os log base test)
$(call fuzzer,fuzz_taught,fuzz_taught.c,spam map mail os log base)
$(call fuzzer,fuzz_bayes,fuzz_bayes.c,spam map mail os log base)
