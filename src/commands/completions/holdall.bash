# Completion of holdall for bash, made by `holdall completions bash`.
_holdall() {
    # bash cuts words at @, : and =, which are part of ours: what stands there without a blank in between belongs together.
    local words=() line=${COMP_LINE:0:COMP_POINT} rest word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:blank:]]*}"}
        if ((i == 0)) || [[ $rest != "$line" ]]; then
            words+=("")
        fi
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then
            word=$rest
        fi
        words[-1]+=$word
        line=${rest#"$word"}
    done

    local replies
    replies=$(_CLAP_IFS=$'\013' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) _HOLDALL_COMPLETE=bash holdall -- "${words[@]}" 2>/dev/null) || return
    mapfile -d $'\013' -t COMPREPLY < <(printf %s "$replies")

    # And it replaces only what comes behind the last cut, but with an @ that cuts also that: it takes what follows for the name of a host.
    local whole=${words[-1]} cuts='' cut behind
    for cut in @ : =; do
        if [[ $COMP_WORDBREAKS == *"$cut"* ]]; then
            cuts+=$cut
        fi
    done
    if [[ $cuts && $whole == *["$cuts"]* ]]; then
        behind=${whole%"${whole##*["$cuts"]}"}
        COMPREPLY=("${COMPREPLY[@]#"${behind%@}"}")
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:@] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -o bashdefault -F _holdall holdall
